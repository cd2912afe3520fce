#!/usr/bin/env bash
# Makes the environment of the speed comparison: metabench, editable, and the peers.
#
#     bash benchmarks/peers/install.sh [.venv-peers]
#
# PYTHON names the interpreter (python3.11). A peer that cannot be installed is told and left out:
# the table then says "not installed". None of the peers' own requirements are installed, for they
# ask for torch versions of years ago; what they only import, libraries.py stands in for.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
venv=${1:-$root/.venv-peers}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_CONSTRAINT=$root/constraints.txt

[ -x "$venv/bin/python" ] || "${PYTHON:-python3.11}" -m venv "$venv"
pip() { "$venv/bin/python" -m pip "$@"; }

# torch first and alone: a later requirement is then met by this build.
pip install --quiet torch==2.13.0
pip install --quiet --editable "$root"
# What the peers import and metabench does not; Cython and setuptools that can build learn2learn.
pip install --quiet 'cython<3.1' 'setuptools<81' wheel requests tqdm h5py ordered-set

# learn2learn's wheel does not build on Python 3.11: the C files in it are those of an old Cython.
learn2learn() {
    pip download --quiet --no-deps --no-build-isolation --no-binary :all: --dest "$work" learn2learn==0.2.0
    tar -xzf "$work"/learn2learn-*.tar.gz -C "$work"
    cd "$work"/learn2learn-*/
    rm -rf learn2learn/data/*.c .eggs
    "$venv/bin/python" setup.py --quiet build_ext --inplace
    pip install --quiet --no-deps --no-build-isolation .
}

status=0
install() {
    local name=$1
    shift
    # A subshell with its own -e: bash ignores it in the condition of an "if".
    set +e
    (set -e; "$@") >"$work/$name.log" 2>&1
    local code=$?
    set -e
    if [ $code -eq 0 ]; then
        echo "$name: installed"
    else
        echo "$name: NOT installed; the last lines were:"
        tail -n 5 "$work/$name.log"
        status=1
    fi
}

install learn2learn learn2learn
install easyfsl pip install --quiet --no-deps easyfsl==1.5.0
install torchmeta pip install --quiet --no-deps torchmeta==1.8.0
install higher pip install --quiet --no-deps higher==0.2.1
echo "run: $venv/bin/python benchmarks/peers/measure.py"
exit $status
