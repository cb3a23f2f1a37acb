"""Random search over hyper-parameters, by any number of workers, on Optuna."""
