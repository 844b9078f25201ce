#!/usr/bin/env bash
# The main job of beemesh on one machine, explained as it goes. Run by `make demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
beemesh=${1:-beemesh}
picture=${2:-target/iot.svg}
file=examples/iot.yaml

say() { printf '\n\033[1m== %s\033[0m\n' "$1"; shift; [ $# = 0 ] || printf '   %s\n' "$@"; }
run() { printf '\033[2m$ beemesh %s\033[0m\n' "$*"; "$beemesh" "$@"; }
down() { "$beemesh" lab down -f "$file" >/dev/null 2>&1 || echo "the lab could not be taken down: beemesh lab down -f $file" >&2; }
trap down EXIT

[ "$(id -u)" = 0 ] || echo "not root: the lab runs inside a user namespace of yours"

say "A topology, declared in one file" \
    "Six Forwarders (routers) on three nodes, in a ring with two more links; three Apps. From $file:"
sed -n '/^#            n1/,/^#        +-plant-b/p' "$file" | sed 's/^#/  /'
run lint -f "$file"

say "What it means, before anything runs" \
    "From plant-a there are two shortest paths to cloud-b: by north and by plant-b, weight 3 each. That is ECMP."
run routes -f "$file" --from plant-a
run graph -f "$file" --stage spt --from plant-a -o svg > "$picture"
echo "   a picture of it is in $picture"

say "Make it real" \
    "Each node becomes a host namespace with a real node daemon; Forwarders become namespaces with routes; links become" \
    "veth pairs on one node and VXLAN between nodes; Apps are attached by the real CNI plugin."
run lab up -f "$file"
run lab status -f "$file"

say "Packets cross it, over IPv4 and IPv6"
run lab ping -f "$file" sensors analytics -c 5 -4
run lab ping -f "$file" sensors analytics -c 5 -6

say "Flows are spread over both shortest paths" \
    "64 flows are traced hop by hop; what is seen stands beside what was computed."
run lab trace -f "$file" sensors analytics

say "Inside a Forwarder there is nothing but Linux" \
    "Routes name a group of next hops; each link is one next hop."
netns=$("$beemesh" lab status -f "$file" -o json | sed -n '/"plant-a"/,/}/s/.*"netns": *"\([^"]*\)".*/\1/p' | head -1)
printf '\033[2m$ ip -n %s nexthop\033[0m\n' "$netns"
"$beemesh" lab exec -f "$file" plant-a -- ip nexthop
"$beemesh" lab exec -f "$file" plant-a -- ip -4 route

say "Pull a cable: plant-a/north" \
    "Before that, what would change? (plan: nothing is touched.)"
run plan -f "$file" --without plant-a/north
run lab cut -f "$file" plant-a/north
run lab ping -f "$file" sensors analytics -c 5
run lab trace -f "$file" sensors analytics

say "Plug it in again"
run lab heal -f "$file" plant-a/north
run lab trace -f "$file" sensors analytics

say "Every pair, every link" \
    "Each App reaches each other one over the computed paths; then each link is cut and healed, and the loss is counted."
run lab test -f "$file"

say "Take it down; nothing is left behind"
run lab down -f "$file"
trap - EXIT
echo
echo "Done. The picture is $picture; the file is $file: change it and run"
echo "  $beemesh lab up -f $file"
