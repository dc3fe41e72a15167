"""The limits of an executor pod: what its driver pod has, and what the cluster's policy adds."""
