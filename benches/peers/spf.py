"""Shortest paths by NetworKit, the peer of spt-*.

usage: spf.py GRAPH    (the number of vertices, then "from to weight" on each line)

For each line "ROOT REPEAT" on standard input it prints "NANOSECONDS SUM": the time of one of REPEAT
runs of Dijkstra from ROOT (distances only), and the sum of the distances. Reading the graph and
fetching the distances are not timed.
"""

import sys
import time

import networkit

with open(sys.argv[1]) as file:
    graph = networkit.Graph(int(file.readline()), weighted=True, directed=True)
    for line in file:
        start, end, weight = line.split()
        graph.addEdge(int(start), int(end), float(weight))
networkit.setNumberOfThreads(1)

for line in sys.stdin:
    root, repeat = map(int, line.split())
    begin = time.perf_counter_ns()
    for _ in range(repeat):
        search = networkit.distance.Dijkstra(graph, root, storePaths=False)
        search.run()
    elapsed = (time.perf_counter_ns() - begin) // repeat
    total = sum(distance for distance in search.getDistances() if distance < 1e300)
    print(elapsed, int(total), flush=True)
