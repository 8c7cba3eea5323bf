#!/bin/sh
# Try hydra/launcher=sagemaker, installed as a wheel, with other versions of Hydra and of its Optuna sweeper, on
# a foreign application against the SageMaker of this machine. Usage: tools/try_launcher.sh FOLDER
# Makes FOLDER/1.3 and FOLDER/1.4 once; takes about two minutes after that.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1" && folder=$(cd "$1" && pwd)
here=${PYTHON:-python}
ROLE=arn:aws:iam::123456789012:role/lingotune-loopback
rm -rf "$folder/wheels" "$folder/app"
"$here" -m pip wheel --quiet --no-deps --wheel-dir "$folder/wheels" "$root"
cp -r "$root/tests/foreign_app" "$folder/app"

install() {  # version, further options and requirements of pip
  version=$1 && shift
  [ -d "$folder/$version" ] || "$here" -m venv "$folder/$version"
  "$folder/$version/bin/python" -m pip install --quiet "$@" hydra-optuna-sweeper numpy \
    "$(ls "$folder"/wheels/*.whl)[hydra-launcher]"
  "$folder/$version/bin/python" -m pip install --quiet --no-deps --force-reinstall "$folder"/wheels/*.whl
}
install 1.3 'hydra-core==1.3.*'
install 1.4 --pre 'hydra-core>=1.4.0rc3,<1.5'

"$here" -m lingotune loopback --port 0 --quota 4 > "$folder/account.sh" &
account=$!
trap 'kill "$account"' EXIT
until grep -q AWS_DEFAULT_REGION= "$folder/account.sh" 2> /dev/null; do sleep 0.2; done
. "$folder/account.sh"

unset PYTHONPATH
cd "$folder/app"
for version in 1.3 1.4; do
  run() {
    "$folder/$version/bin/python" train.py -m hydra/launcher=sagemaker \
      hydra.launcher.role="$ROLE" hydra.launcher.bucket=lingotune-loopback \
      hydra.launcher.instance_type=ml.g5.xlarge hydra.launcher.image_uri=r.example/pytorch:2 \
      hydra.launcher.max_run=600 hydra.launcher.name="try$version" "$@" > "$folder/$version.txt" 2>&1 \
      || { cat "$folder/$version.txt"; exit 1; }
  }
  run lr=0.3,0.6
  test "$(grep -c 'completed  returned 0' "$folder/$version.txt")" = 2
  run hydra/sweeper=optuna hydra.sweeper.n_trials=2 hydra.sweeper.n_jobs=2 \
    hydra.sweeper.direction=maximize hydra.sweeper.sampler.seed=1 'lr=interval(0.05,0.8)'
  grep -q 'Best value: 0' "$folder/$version.txt"
  "$folder/$version/bin/python" -c 'import hydra; print("hydra", hydra.__version__, "runs, with both sweepers")'
done
