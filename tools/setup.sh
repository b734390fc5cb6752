# SPDX-License-Identifier: Apache-2.0
# Shared by ./quickstart, ./test and .ci/run, which source it from the repository root: installs what
# is missing from Debian, configures and builds. POSIX sh. Every step prints one line; the noisy
# output goes to build/<step>.log, whose end is shown when the step fails.

BUILD_PACKAGES="g++ cmake ninja-build pkg-config nlohmann-json3-dev libfmt-dev libspdlog-dev
  libsentencepiece-dev libcli11-dev libedit-dev zlib1g-dev libzstd-dev libssl-dev
  libboost1.81-dev prometheus-cpp-dev libcurl4-openssl-dev
  libgtest-dev libbenchmark-dev python3"
# The trainer, built where they are installed; ./quickstart does without.
TRAIN_PACKAGES="libtorch-dev libgloo-dev libopenblas0-openmp libyaml-cpp-dev"
LINT_PACKAGES="clang-14 clang-format-14 libclang-rt-14-dev"

trap 'echo; echo "interrupted"; exit 130' INT TERM

die() {
  echo "$0: $*" >&2
  exit 1
}

# step TEXT LOG COMMAND...: runs COMMAND with its output in build/LOG.log.
step() {
  step_text=$1
  step_log=build/$2.log
  shift 2
  mkdir -p build
  printf '%s ... ' "$step_text"
  step_start=$(date +%s)
  if "$@" > "$step_log" 2>&1 < /dev/null; then
    echo "done ($(($(date +%s) - step_start)) s)"
  else
    echo "FAILED"
    tail -n 40 "$step_log" >&2
    die "$step_text failed; the whole output is in $step_log"
  fi
}

# The packages among the arguments that are not installed.
missing_packages() {
  # shellcheck disable=SC2016 # the format is dpkg-query's, not the shell's
  installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "$@" 2> /dev/null || true) "
  for package in "$@"; do
    case $installed in
      *" installed:$package "*) ;;
      *) printf '%s ' "$package" ;;
    esac
  done
}

apt_install() {
  apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"
  $apt update || echo "apt-get update failed; trying with the lists that are here"
  $apt install -y --no-install-recommends "$@"
}

# install_packages PACKAGE...: only what is missing; nothing to do takes no time.
install_packages() {
  if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
    die "this needs Debian 12 or a relative with apt-get; elsewhere install the equivalents of:" "$@"
  fi
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" -eq 0 ]; then
    as_root=
  elif ! command -v sudo > /dev/null; then
    die "not root and no sudo; as root, run: apt-get install $missing"
  elif sudo -n true 2> /dev/null || [ -t 0 ]; then
    as_root=sudo
    sudo -v || die "sudo refused; as root, run: apt-get install $missing"
  else
    die "sudo asks for a password and nobody is at the keyboard; as root, run: apt-get install $missing"
  fi
  # shellcheck disable=SC2086 # a list of words
  step "Installing from Debian: ${missing% }" setup apt_install $missing
}

# build PRESET [TARGET...]: configures and builds; without a target everything.
build() {
  preset=$1
  shift
  step "Configuring build/$preset" "configure-$preset" cmake --preset "$preset"
  # A compiler takes up to about 1 GB on the largest files: fewer jobs where memory is short.
  jobs=$(nproc)
  free_kb=$(awk '/MemAvailable/ {print $2}' /proc/meminfo 2> /dev/null || true)
  by_memory=$((${free_kb:-4000000} / 1000000))
  [ "$by_memory" -ge 1 ] || by_memory=1
  [ "$jobs" -le "$by_memory" ] || jobs=$by_memory
  step "Building ${*:-everything} in build/$preset" "build-$preset" \
    cmake --build "build/$preset" --parallel "$jobs" ${1:+--target} "$@"
}
