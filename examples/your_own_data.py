"""Trains a small network on your own images, split by patient, and scores it with intervals.

python examples/your_own_data.py [DIR with samples.csv]; without a folder on a phantom.
"""

import sys

import mmdc_tf
from mmdc_tf.datasets.phantom import write_phantom_mammograms

if len(sys.argv) > 1:
    data, size, epochs, weights = mmdc_tf.load_dataset("folder", sys.argv[1]), 224, 12, "imagenet"
else:
    print("phantom: not a reproduction")
    root = write_phantom_mammograms("runs/tutorial-phantom", patients=12)
    data, size, epochs, weights = mmdc_tf.load_dataset("mini-ddsm", root), 64, 1, None
print(data)

train, validation, test = data.split("leak-free", fold=0, folds=3)
model = mmdc_tf.models.MMDCNet(
    "mobilenet", num_classes=len(data.class_names), weights=weights, image_size=size, metadata=train.metadata
)
model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
model.fit(
    train.to_tf(size, training=True, inputs=("image", "metadata")),
    validation_data=validation.to_tf(size, inputs=("image", "metadata")),
    epochs=epochs,
    verbose=2,
)
print(test.score(model).round(3))
model.save("runs/tutorial-model.keras")
