"""Side outputs: status, Events, metrics, log lines. Nothing reads them back."""
