/* A stand-in for NVIDIA's libnvidia-ml.so.1: the calls that the gateway makes, answered from a
 * text file named by FAKE_NVML, which is read at every call so that a test can change it.
 * Its lines:
 *   gpu <uuid> <minor> <bus id> <busy %> <memory busy %> <total> <used> <free> <model>
 *   process <gpu's index> <pid> <bytes>
 *   error <function> <code> [<gpu's index>]
 * Without the file there is no driver.  Structures and codes are those of NVML's documentation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS, BAD_ARGUMENT = 2, TOO_SMALL = 7, NO_DRIVER = 9, MOST = 16 };

typedef struct { char uuid[96], model[96], bus[32]; unsigned minor, busy, memory_busy;
                 unsigned long long total, used, available; } Gpu;
typedef struct { unsigned pid; unsigned long long used; unsigned slice, part; } Process;
typedef struct { int gpu; Process process; } Entry;
typedef struct { char name[64]; int code, gpu; } Fault;
typedef struct { int gpus, entries, faults; Gpu gpu[MOST]; Entry entry[MOST]; Fault fault[MOST]; } State;

static const char *names[MOST] = {"0", "1", "2", "3", "4", "5", "6", "7"};

static int load(State *state)
{
    char line[512];
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    memset(state, 0, sizeof *state);
    if (!file)
        return NO_DRIVER;
    while (fgets(line, sizeof line, file)) {
        Gpu *gpu = &state->gpu[state->gpus];
        Entry *entry = &state->entry[state->entries];
        Fault *fault = &state->fault[state->faults];
        fault->gpu = -1;
        if (state->gpus < 8 && sscanf(line, "gpu %95s %u %31s %u %u %llu %llu %llu %95[^\n]", gpu->uuid,
                   &gpu->minor, gpu->bus, &gpu->busy, &gpu->memory_busy, &gpu->total, &gpu->used,
                   &gpu->available, gpu->model) == 9)
            state->gpus++;
        else if (state->entries < MOST - 1 && sscanf(line, "process %d %u %llu", &entry->gpu,
                        &entry->process.pid, &entry->process.used) == 3)
            state->entries++;
        else if (state->faults < MOST - 1 && sscanf(line, "error %63s %d %d", fault->name,
                        &fault->code, &fault->gpu) >= 2)
            state->faults++;
    }
    fclose(file);
    return SUCCESS;
}

/* The state for one call, or the error that the file orders for it. */
static int begin(State *state, const char *function, int gpu)
{
    int code = load(state);
    if (code)
        return code;
    for (int i = 0; i < state->faults; i++)
        if (!strcmp(state->fault[i].name, function)
            && (state->fault[i].gpu < 0 || state->fault[i].gpu == gpu))
            return state->fault[i].code;
    return gpu >= state->gpus ? BAD_ARGUMENT : SUCCESS;
}

/* A handle points at the text of the GPU's index. */
static int index_of(const char *const *device) { return atoi((const char *)device); }

#define CALL(device) State state; int at = index_of((const char *const *)device); \
    int code = begin(&state, __func__, at); if (code) return code; Gpu *gpu = &state.gpu[at]; (void)gpu

int nvmlInitWithFlags(unsigned flags)
{
    State state;
    (void)flags;
    return begin(&state, __func__, -1);
}

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) { return code == 999 ? "Unknown Error" : "an error"; }

int nvmlDeviceGetCount_v2(unsigned *count)
{
    State state;
    int code = begin(&state, __func__, -1);
    *count = state.gpus;
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, const char **device)
{
    State state;
    int code = begin(&state, __func__, (int)index);
    if (!code)
        *device = names[index];
    return code;
}

int nvmlDeviceGetName(void *device, char *name, unsigned length)
{
    CALL(device);
    snprintf(name, length, "%s", gpu->model);
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length)
{
    CALL(device);
    snprintf(uuid, length, "%s", gpu->uuid);
    return SUCCESS;
}

int nvmlDeviceGetMinorNumber(void *device, unsigned *minor)
{
    CALL(device);
    *minor = gpu->minor;
    return SUCCESS;
}

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char text[32]; } Place;

int nvmlDeviceGetPciInfo_v3(void *device, Place *place)
{
    CALL(device);
    memset(place, 0, sizeof *place);
    sscanf(gpu->bus, "%x:%x:%x", &place->domain, &place->bus, &place->device);
    snprintf(place->text, sizeof place->text, "%s", gpu->bus);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory)
{
    CALL(device);
    memory[0] = gpu->total;
    memory[1] = gpu->available;
    memory[2] = gpu->used;
    return SUCCESS;
}

int nvmlDeviceGetBAR1MemoryInfo(void *device, unsigned long long *memory)
{
    CALL(device);
    memory[0] = 256ull << 20;
    memory[1] = 250ull << 20;
    memory[2] = 6ull << 20;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates)
{
    CALL(device);
    rates[0] = gpu->busy;
    rates[1] = gpu->memory_busy;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius)
{
    CALL(device);
    *celsius = 41 + sensor;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts)
{
    CALL(device);
    *milliwatts = 71500;
    return SUCCESS;
}

static int list(State *state, int at, unsigned *count, Process *found)
{
    unsigned room = *count, n = 0;
    for (int i = 0; i < state->entries; i++) {
        if (state->entry[i].gpu != at)
            continue;
        if (found && n < room)
            found[n] = state->entry[i].process;
        n++;
    }
    *count = n;
    return n > room || (n && !found) ? TOO_SMALL : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Process *found)
{
    CALL(device);
    return list(&state, at, count, found);
}

int nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned *count, Process *found)
{
    CALL(device);
    return list(&state, at, count, found);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *count, Process *found)
{
    CALL(device);
    (void)found;
    *count = 0;
    return SUCCESS;
}
