"""The steps that make an executor pod, one concern each, as ``org.apache.spark.deploy.k8s.features`` has them."""
