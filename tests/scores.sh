#!/bin/bash
# scores.sh - gets two public test sets and runs them through the program; see scores.py.
#
#   tests/scores.sh PROGRAM
#
# Fashion-MNIST comes with Debian's dataset-fashion-mnist, easy-VQA with the package easy-vqa of PyPI, which goes into a
# temporary environment. FASHION and EASY_VQA name folders to take instead. Exit code 77: a test set cannot be had.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
. tools/packages
program=${1:?the program to run, for example build/rebus}
temporary=$(mktemp -d) || exit 1
trap 'rm -rf "$temporary"' EXIT

[ -n "${FASHION:-}" ] || need dataset-fashion-mnist "10,000 test pictures"
[ -n "${EASY_VQA:-}" ] || need python3-venv "gets the test questions"
need python3 "counts right answers"
install_needed || exit 77

fashion=${FASHION:-/usr/share/datasets/fashion-mnist}
easy=${EASY_VQA:-}
if [ -z "$easy" ]; then
	if ! python3 -m venv "$temporary/venv" >"$temporary/log" 2>&1 ||
		! "$temporary/venv/bin/pip" install -q --no-deps easy-vqa >>"$temporary/log" 2>&1; then
		tail -3 "$temporary/log"
		echo "easy-vqa cannot be had"
		exit 77
	fi
	easy=$(echo "$temporary"/venv/lib/python3*/site-packages/easy_vqa/data)
fi

tests/scores.py "$program" --fashion "$fashion" --easy-vqa "$easy"
