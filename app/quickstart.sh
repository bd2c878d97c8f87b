#!/usr/bin/env bash
# From a fresh clone to the first picture: installs what is needed (setup.sh), builds ecdit, draws a dog.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

app/setup.sh
cmake --preset release -DECD_TESTS=OFF >/dev/null
cmake --build --preset release
ecdit=build/release/app/ecdit
"$ecdit" generate --class dog -o dog.png
echo "The picture is $PWD/dog.png; draw others with $ecdit generate --class cat -o cat.png"
