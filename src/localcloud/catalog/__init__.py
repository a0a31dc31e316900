"""The content of the registry `azureml`: models and components, with their source and date."""
