#!/usr/bin/env bash
# Makes the environment of bootstrap_speed.py: metabench, editable, and rliable.
#
#     bash benchmarks/peers/install_rliable.sh [.venv-rliable]
#
# PYTHON names the interpreter (python3.11). rliable 1.2.0, the last before it was archived, needs
# a pandas and an arch of its time, so it has an environment of its own.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
venv=${1:-$root/.venv-rliable}
export PIP_DISABLE_PIP_VERSION_CHECK=1
[ -x "$venv/bin/python" ] || "${PYTHON:-python3.11}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet torch==2.13.0
"$venv/bin/python" -m pip install --quiet --editable "$root" 'pandas==2.3.3' 'arch==7.2.0' 'rliable==1.2.0'
echo "run: $venv/bin/python benchmarks/peers/bootstrap_speed.py"
