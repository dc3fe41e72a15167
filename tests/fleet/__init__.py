"""A fleet of Spark applications without Spark: many drivers in one process, and executor pods that live as kubelets let them.

- `applications`: the truth of one application: jobs, stages, tasks, executors.
- `driver_fleet`: all drivers' UI ports in one server, an address of 127.0.0.0/8 each.
- `rest_bodies`: what a real driver answers, at its real length.
- `executor_lives`: what becomes of the truth when a pod runs, leaves or is gone, whoever plays the kubelet.
- `pod_player`: plays schedulers and kubelets for the pods of the fleet.

A driver costs a listening socket and a few kilobytes; bodies are made when they are asked for.
"""
