# Functions with which pages.py runs the commands of a page. The hidden commands of pages use `stack` and `member`.
set -euo pipefail
servers=()
# Ends a page that waits for ever. Its own output must not keep the pipe of the page open.
(sleep 300 && kill -TERM $$) >/dev/null 2>&1 &

# Begins a command. Its output goes to $OUTPUT, and VISIBLE is the output of the last command that readers see.
begin() {
  [[ ${OUTPUT_KIND:-} != visible ]] || VISIBLE=$OUTPUT
  OUTPUT=$OUT/$1 OUTPUT_KIND=$2
  echo "$1" >"$OUT/reached"
}

# Lets curl fail if the status is an error.
curl() {
  command curl --silent --show-error --fail-with-body "$@"
}

# Starts the local stack, with the given settings, and finds its programs.
stack() {
  env "$@" scripts/up --detach
  PATH=$PWD/target/release:$PATH
}

# Prints a member of the last answer that is an object: member upload_id, or member parts.0.url.
member() {
  python3 - "$1" "$VISIBLE" <<'END'
import json, sys
value = json.loads([line for line in open(sys.argv[2]) if line.startswith("{")][-1])
for name in sys.argv[1].split("."):
    value = value[int(name) if isinstance(value, list) else name]
print(value)
END
}

# Notes a server: its process, and the URL or the file that tells whether it is ready.
started() {
  servers+=("$1 $2")
}

# Waits until all servers are ready, and stops them in reverse order.
stop_servers() {
  local server code=0
  for server in "${servers[@]+"${servers[@]}"}"; do
    wait_ready $server || return 1
  done
  while ((${#servers[@]})); do
    server=${servers[-1]}
    unset 'servers[-1]'
    kill -TERM "${server% *}"
    wait "${server% *}" || code=$?
  done
  ((code == 0)) || echo "a server ended with $code" >&2
  return "$code"
}

wait_ready() {
  local deadline=$((SECONDS + 60))
  until is_ready "$2"; do
    kill -0 "$1" || { echo "the server ended before it was ready" >&2; return 1; }
    ((SECONDS < deadline)) || { echo "no answer from $2" >&2; return 1; }
    sleep 0.1
  done
}

# scripts/up writes that Waybill is ready. Before that, it treats a signal as a failed start.
is_ready() {
  case $1 in
    http*) command curl --silent --insecure --fail --output /dev/null --max-time 5 "$1" ;;
    *) grep -q 'Waybill is ready' "$1" ;;
  esac
}
