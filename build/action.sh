#!/usr/bin/env bash
# What action.yml does, so that it can be run and tested without GitHub. Everything it is told comes by environment.
#
#   build/action.sh install     the release VERSION ("latest" or "v1.2.3") of labctl into RUNNER_TEMP, checked, onto PATH
#   build/action.sh run         VERB on LAB; the report goes to the step's summary; the status is labctl's, 0 for a plan
#   build/action.sh comment     REPORT as the one comment of pull request PULL that begins with MARK
set -euo pipefail

repository=labctl-dev/labctl

install() {
	local dir=${RUNNER_TEMP:?}/labctl os arch name
	os=$(uname -s | tr '[:upper:]' '[:lower:]')
	case $(uname -m) in x86_64) arch=amd64 ;; aarch64 | arm64) arch=arm64 ;; *) echo "labctl is not released for $(uname -m)" >&2 && exit 1 ;; esac
	if [ "$VERSION" = latest ]; then VERSION=$(gh release view -R $repository --json tagName -q .tagName); fi
	name=labctl_${VERSION#v}_${os}_${arch}.tar.gz
	mkdir -p "$dir" && cd "$dir"
	gh release download "$VERSION" -R $repository -p "$name" -p SHA256SUMS --clobber
	grep " $name\$" SHA256SUMS | if command -v sha256sum >/dev/null; then sha256sum -c -; else shasum -a 256 -c -; fi
	gh attestation verify "$name" -R $repository
	tar xzf "$name" --strip-components=1
	echo "$dir/bin" >>"$GITHUB_PATH"
}

run() {
	local report args=() defines=() code=0 line
	report=$(mktemp "${RUNNER_TEMP:?}/labctl.XXXXXX")
	while IFS= read -r line; do if [ -n "$line" ]; then defines+=(-D "$line"); fi; done <<<"${DEFINE-}"
	args=("${defines[@]}")
	if [ -n "${TARGET-}" ]; then args+=(-t "$TARGET"); fi
	case $VERB in
	vet | drift) labctl "$VERB" -q -o markdown "${args[@]}" "$LAB" >"$report" || code=$? ;;
	test) labctl test -q -o markdown ${JUNIT:+--junit "$JUNIT"} "${args[@]}" "$LAB" >"$report" || code=$? ;;
	plan)
		labctl plan -q -o markdown "${args[@]}" "$LAB" >"$report" || code=$?
		if [ $code = 0 ] && [ -n "${AGAINST-}" ]; then proof "$report" "${defines[@]}" || code=$?; fi
		;;
	apply)
		labctl apply --no-test "${args[@]}" "$LAB" >&2 || code=$?
		if [ $code = 0 ]; then labctl drift -q -o markdown "${args[@]}" "$LAB" >"$report" || code=$?; fi
		;;
	*) echo "verb $VERB: it is vet, plan, apply, test or drift" >&2 && exit 1 ;;
	esac
	# What CI reads besides is the same answer asked again: nothing is changed by it, and the status is known.
	if [ -n "${SARIF-}" ]; then labctl "$VERB" -q -o sarif "${args[@]}" "$LAB" >"$SARIF" || [ $? = "$code" ]; fi
	if [ -n "${JUNIT-}" ] && [ "$VERB" != test ]; then labctl "$VERB" -q -o junit "${args[@]}" "$LAB" >"$JUNIT" || [ $? = "$code" ]; fi
	cat "$report" >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"
	printf 'status=%s\nreport=%s\n' "$code" "$report" >>"${GITHUB_OUTPUT:-/dev/stderr}"
	return $code
}

# proof REPORT ARGS...: what the change does to who may reach whom, since the revision AGAINST. ARGS are -D tag=value.
proof() {
	local report=$1 code=0
	shift
	printf '\n' >>"$report"
	labctl diff -q -o markdown "$@" "$AGAINST" "$LAB" >>"$report" || code=$?
	[ $code = 0 ] || [ $code = 2 ] # 2: something changes
}

comment() {
	local body id
	body=$(mktemp)
	{ printf '<!-- %s -->\n' "$MARK" && head -c 60000 "$REPORT"; } >"$body" # a comment has at most 65,536 characters
	id=$(gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$PULL/comments" \
		--jq '.[] | select(.body | startswith("<!-- " + env.MARK + " -->")) | .id' | head -n 1)
	if [ -n "$id" ]; then
		gh api -X PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$id" -F body=@"$body" >/dev/null
	else
		gh api -X POST "repos/$GITHUB_REPOSITORY/issues/$PULL/comments" -F body=@"$body" >/dev/null
	fi
}

case ${1-} in install | run | comment) "$1" ;; *) echo "usage: build/action.sh install|run|comment" >&2 && exit 1 ;; esac
