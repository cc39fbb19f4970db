"""What a person looks at: status, outliers, alerts, TensorBoard, the report."""
