"""register-results: names the files that are results, and who is to carry them out.

Run it as Clara's images are run, or as a module::

    python register.py --agent ClaraSCU --data '["PACS", "ARCHIVE"]'
    python -m gateway.operators.register_results

Every file of every mapped input is registered. `--agent` is who delivers: `ClaraSCU` (C-STORE; the
default), `DICOMweb`, `renderserver`, or another name of letters, digits and hyphens that begins
with a letter and does not end with a hyphen. `--data` is a JSON array with one element per
destination, or one JSON value or bare word for one destination; for `ClaraSCU` and `DICOMweb`
elements are names of destinations. Without it the destinations of the rule that started the job
count.

The registrations go to the file named by `$NVIDIA_CLARA_RESULTS` (`--results` when run alone)::

    {"version": 1, "registrations": [
      {"agent": "ClaraSCU",
       "parameters": ["PACS", "ARCHIVE"],             # null without --data
       "files": [{"input": "input", "path": "2.25.1/2.25.2.dcm"}]}]}

`input` is the input's name as in `$NVIDIA_CLARA_INPUTPATHS`, `path` is relative to that input,
with `/`. Inputs keep the definition's order, paths are sorted. An operator may run the command
several times (one agent each): a run appends its registration to those in the file. The file is
replaced whole and flushed to disk, so it is never half written; two runs at once are not meant.

Refused by name, exit code 3: LINK and NOT_A_FILE (an input holds a symbolic link or something that
is neither file nor folder), BAD_FILE_NAME (not UTF-8), TOO_MANY_FILES, NOTHING_TO_REGISTER,
BAD_REGISTRATIONS (the file that is there is none of ours). Exit code 2: BAD_AGENT, BAD_DATA,
NO_RESULTS_FILE, NO_INPUT.
"""

from __future__ import annotations
