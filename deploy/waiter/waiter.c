/* The first process of every operator's container in a Pod of the gateway.
 *
 *   gateway-waiter [-m OWN] [-w UPSTREAM]... [-t MESSAGE] -- COMMAND [ARGUMENT]...
 *
 * Waits until each folder UPSTREAM holds the file `done`, runs COMMAND, passes signals on to it,
 * leaves `done` or `failed` in the folder OWN, and writes to the file MESSAGE, as JSON, when
 * COMMAND was executed and when it ended.  Ends with COMMAND's exit code, 128 + n for signal n; as
 * process 1 of its namespace it takes all with it that COMMAND left running.
 *
 * When an UPSTREAM holds `failed` COMMAND is not run: OWN gets `failed` too, the exit code is 125.
 *
 * Static, without libraries, shell or interpreter: images may hold nothing but their own program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_UPSTREAM = 256, MOST_PATH = 4096, SKIPPED = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

static const char *own, *message, *upstream[MOST_UPSTREAM];
static int upstreams;
static double began;
static volatile sig_atomic_t asked, child;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Remembered while waiting, passed on to all of the command's process group while it runs. */
static void on_signal(int number)
{
    int kept = errno;
    asked = number;
    if (child > 0)
        kill(-child, number);
    errno = kept;
}

static int there(const char *folder, const char *name)
{
    char path[MOST_PATH];
    struct stat found;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &found) == 0;
}

static void leave(const char *name)
{
    char path[MOST_PATH];
    int file;
    if (own == NULL)
        return;
    snprintf(path, sizeof path, "%s/%s", own, name);
    file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0)
        fprintf(stderr, "operator: its end cannot be marked: %s\n", strerror(errno));
    else
        close(file);
}

/* The end: what the gateway and the operators downstream read of it. */
static int finish(int code)
{
    if (message != NULL) {
        /* Cut short first: the operator, which has the same rights, may have written to it. */
        int file = open(message, O_WRONLY | O_TRUNC | O_CLOEXEC);
        if (file >= 0) {
            dprintf(file, "{\"began\": %.6f, \"ended\": %.6f, \"code\": %d}", began, now(), code);
            close(file);
        }
    }
    leave(code == 0 ? "done" : "failed");
    return code;
}

/* 0 when every upstream operator is done, else the exit code. */
static int await_upstream(void)
{
    const struct timespec pause = {0, 10 * 1000 * 1000};
    int next = 0;
    while (next < upstreams) {
        if (asked)
            return 128 + asked;
        if (there(upstream[next], "done"))
            next++;
        else if (there(upstream[next], "failed"))
            return SKIPPED;
        else
            nanosleep(&pause, NULL);
    }
    return asked ? 128 + asked : 0;
}

/* Runs the command; its exit code as a shell tells it. */
static int run(char **command)
{
    int pipes[2], fault = 0, status = 0;
    pid_t pid, ended;
    if (pipe2(pipes, O_CLOEXEC) != 0) {
        perror("operator: pipe");
        return NOT_EXECUTABLE;
    }
    began = now();
    pid = fork();
    if (pid < 0) {
        perror("operator: fork");
        return NOT_EXECUTABLE;
    }
    if (pid == 0) {
        setpgid(0, 0);
        execvp(command[0], command);
        fault = errno;
        if (write(pipes[1], &fault, sizeof fault) < 0)
            _exit(NOT_FOUND);
        _exit(fault == ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
    }
    setpgid(pid, pid);
    child = pid;
    if (asked)
        kill(-pid, asked);
    close(pipes[1]);
    while (read(pipes[0], &fault, sizeof fault) < 0 && errno == EINTR)
        continue;
    close(pipes[0]);
    if (fault != 0)
        fprintf(stderr, "operator: exec: %s: %s\n", command[0], strerror(fault));
    /* As process 1 it inherits every orphan of the container. */
    while ((ended = wait(&status)) != pid)
        if (ended < 0 && errno != EINTR)
            return NOT_EXECUTABLE;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    const int passed[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    struct sigaction action = {.sa_handler = on_signal};
    int option, code;
    while ((option = getopt(argc, argv, "+m:w:t:")) != -1) {
        if (option == 'm')
            own = optarg;
        else if (option == 't')
            message = optarg;
        else if (option == 'w' && upstreams < MOST_UPSTREAM)
            upstream[upstreams++] = optarg;
        else
            return NOT_EXECUTABLE;
    }
    if (optind >= argc) {
        fprintf(stderr, "operator: there is no command\n");
        return NOT_EXECUTABLE;
    }
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        sigaction(passed[i], &action, NULL);
    code = await_upstream();
    return finish(code == 0 ? run(argv + optind) : code);
}
