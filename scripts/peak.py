"""Time and memory of a command, for the scripts beside this one."""

import json
import subprocess
import sys

# A child counts the pages of the process that it was forked from as its own, so that something small has
# to stand between it and a script that holds arrays.
BETWEEN = """
import json, os, sys, time
start = time.monotonic()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(json.dumps([time.monotonic() - start, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)]), file=sys.stderr)
"""


def run(command):
    """Seconds that went by, and the largest resident set in MiB (of at least some 10, which are Python's)."""
    command = [sys.executable, "-I", "-S", "-c", BETWEEN, *map(str, command)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    *said, last = done.stderr.strip().splitlines() or [""]
    try:
        seconds, peak, code = json.loads(last)
    except ValueError:
        raise RuntimeError(last) from None
    if code:
        raise RuntimeError("\n".join(said) or f"ended with {code}")
    return seconds, peak
