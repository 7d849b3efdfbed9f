#!/bin/sh
# Make the environment FOLDER: with PYTHON where one is named, else with the newest Python from 3.11 to
# 3.14 that is there and usable. Says which one it took, and why others were passed over.
#
#   sh tools/make_venv.sh FOLDER [PYTHON]
#
# A FOLDER that holds a working environment is kept, unless another PYTHON is named.
set -eu
folder=$1
named=${2:-}

# Runs under any Python, 2 included. Prints its version, or "no" and what is wrong with it.
# torch has builds for 64-bit CPython alone, and Debian's Python makes no environment before the package
# python3-venv is there.
probe='
import sys
def no(reason):
    print("no " + reason)
    sys.exit()
version = sys.version_info[:2]
if version < (3, 11) or version > (3, int(sys.argv[1])):
    no("is Python %d.%d" % version)
if sys.implementation.name != "cpython" or sys.maxsize < 2 ** 32:
    no("is no 64-bit CPython, and torch has no build for it")
import sysconfig
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    no("is a free-threaded build")
try:
    import ctypes, ensurepip, ssl, venv
except ImportError:
    no("cannot make an environment: %s" % sys.exc_info()[1])
print("%d %s" % (version[1], sys.version.split()[0]))
'

# examine PYTHON NEWEST: set `found` to its minor version and its version, or to what is wrong with it
examine() {
    # a shim of pyenv is there for every version that is installed, and runs those that are active
    found=$("$1" -c "$probe" "$2" 2>/dev/null) || found=
    case $found in
        [0-9]*) return 0 ;;
        no\ *) found=${found#no } ;;
        *) found="does not run" ;;
    esac
    return 1
}

if [ -n "$named" ]; then
    if ! examine "$named" 99; then
        echo "PYTHON=$named will not do: it $found. Python 3.11 or newer is needed." >&2
        exit 1
    fi
    if [ -x "$folder/bin/python" ] && [ "$("$folder/bin/python" -V 2>&1)" = "Python ${found#* }" ]; then
        echo "Python ${found#* } in $folder, as before"
        exit 0
    fi
    echo "Python ${found#* }, as PYTHON=$named asks for"
    exec "$named" -m venv --clear "$folder"
fi

if [ -x "$folder/bin/python" ] && examine "$folder/bin/python" 99; then
    echo "Python ${found#* } in $folder, as before"
    exit 0
fi

best='' best_minor=0 passed=''
for python in python3.14 python3.13 python3.12 python3.11 python3 python; do
    command -v "$python" >/dev/null 2>&1 || continue
    if ! examine "$python" 14; then
        passed="$passed
  passed over: $python $found"
    elif [ "${found%% *}" -gt "$best_minor" ]; then
        best=$python best_minor=${found%% *} version=${found#* }
    fi
done
if [ -z "$best" ]; then
    echo "No Python from 3.11 to 3.14 was found: install one, or name it: make PYTHON=/path/to/python$passed" >&2
    exit 1
fi
echo "Python $version ($best): the newest from 3.11 to 3.14 here; \`make PYTHON=...\` takes another$passed"
exec "$best" -m venv --clear "$folder"
