"""Metrics, intervals by bootstrap over groups, comparisons and calibration, from tables of predictions."""

from mmdc_tf.evaluation.calibration import fit_temperature, threshold_at_sensitivity, with_temperature
from mmdc_tf.evaluation.comparison import compare_rows, paired_difference
from mmdc_tf.evaluation.metrics import all_metrics, class_results, metrics_by_fold
from mmdc_tf.evaluation.predictions import predictions_table, read_predictions
from mmdc_tf.evaluation.statistics import metric_intervals

__all__ = [
    "all_metrics",
    "class_results",
    "compare_rows",
    "fit_temperature",
    "metric_intervals",
    "metrics_by_fold",
    "paired_difference",
    "predictions_table",
    "read_predictions",
    "threshold_at_sensitivity",
    "with_temperature",
]
