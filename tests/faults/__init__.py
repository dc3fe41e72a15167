"""Faults from a seed, between a real operator process and a real API server, and invariants that are checked all the time.

    make faults SEEDS=1-20

One run: a namespace with several applications whose drivers are fakes and whose kubelet is `cluster_actor`. The operator
reaches the API server and the drivers only through `fault_proxy`, which does with each request what `fault_schedule`
says. `invariants` watches the API server itself, and reads what passed the proxies. `run` puts it together.
"""
