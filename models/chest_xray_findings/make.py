"""Make `1/model.onnx`: a small convolutional network built by hand, nothing trained.

Run it with a Python that has `onnx` and `numpy`: `python make.py`; the file is the same each time.

What the network detects
------------------------
Round bright spots of 10 to 70 mm in a radiograph that is dark where the lungs are. It has no
notion of disease: whatever is round, brighter than its surroundings in every direction and lies in
lung-like darkness scores high. It was tuned on drawn phantoms only; it is a worked example of a
served network, not a medical device.

How
---
Each scale is three convolutions with second derivatives of a Gaussian (the Hessian). Its larger
eigenvalue, negated and rectified, is how much darker it gets in the direction where it gets darker
least: a rib or a vessel scores nearly nothing along itself, a round spot scores in all directions.
The best scale at each pixel tells score and diameter. A broad Gaussian tells lung from body and
from the air around it. A max pool keeps local peaks.

==========  =================  ====================================================================
tensor      type and shape     content
==========  =================  ====================================================================
`image`     FP32 [N,1,H,W]     1 mm per pixel, bright = dense, 0 = black, 1 = white (percentiles)
`score`     FP32 [N,1,H,W]     contrast of a round spot at its centre; 0 where no peak is
`diameter`  FP32 [N,1,H,W]     mm, from the scale that answered best
==========  =================  ====================================================================
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

SIGMAS = (5.0, 7.0, 10.0, 14.0, 19.0)
"""Scales in mm."""
WEIGHTS = (0.65, 0.85, 1.2, 1.6, 1.6)
"""Of the scales: where ribs cross, the small ones answer too."""
DIAMETER_PER_SIGMA = 2.6
"""Of a projected ball whose best answer is at sigma."""
GAIN = 4.0
"""Makes the score of a Gaussian spot its contrast."""
SURROUND_SIGMA = 12.0
BODY, AIR = 0.53, 0.06
"""Smoothed brightness above and below which no lung is."""
STEEPNESS = 40.0
PEAK = 15
"""Window of the peaks, mm."""
OPSET = 17

Kernel = npt.NDArray[np.float32]


def gaussian(sigma: float, order: int) -> Kernel:
    """Sample the derivative of a Gaussian of unit sum, in one dimension."""
    reach = int(np.ceil(3.5 * sigma))
    x = np.arange(-reach, reach + 1, dtype=np.float64)
    bell = np.exp(-0.5 * (x / sigma) ** 2)
    bell /= bell.sum()
    if order == 1:
        bell = -x / sigma**2 * bell
    if order == 2:
        bell = (x**2 - sigma**2) / sigma**4 * bell
        bell -= bell.mean()
    return bell.astype(np.float32)


class Builder:
    """Collects nodes and weights."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        """Add a node; returns its output's name."""
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, values: npt.ArrayLike) -> str:
        """Add a float32 weight; returns its name."""
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def along(self, image: str, kernel: Kernel, axis: int) -> str:
        """Convolve along rows (2) or columns (3), the image's edge continued."""
        reach = len(kernel) // 2
        pads = [0] * 8
        pads[axis], pads[axis + 4] = reach, reach
        name = f"pads_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(pads, np.int64), name))
        padded = self.add("Pad", image, name, mode="edge")
        shape = [1, 1, 1, 1]
        shape[axis] = len(kernel)
        # A convolution of ONNX is a correlation, hence the flip.
        return self.add("Conv", padded, self.constant(kernel[::-1].reshape(shape)))

    def filtered(self, image: str, sigma: float, rows: int, columns: int) -> str:
        """Convolve with a separable derivative of a Gaussian."""
        across = self.along(image, gaussian(sigma, rows), 2)
        return self.along(across, gaussian(sigma, columns), 3)


def roundness(net: Builder, image: str, sigma: float, weight: float) -> str:
    """Give the rectified, negated larger eigenvalue of the Hessian, as a contrast."""
    yy = net.filtered(image, sigma, 2, 0)
    xx = net.filtered(image, sigma, 0, 2)
    xy = net.filtered(image, sigma, 1, 1)
    half = net.constant(0.5)
    mean = net.add("Mul", net.add("Add", xx, yy), half)
    difference = net.add("Mul", net.add("Sub", xx, yy), half)
    square = net.add("Add", net.add("Mul", difference, difference), net.add("Mul", xy, xy))
    larger = net.add("Add", mean, net.add("Sqrt", square))
    return net.add("Relu", net.add("Mul", larger, net.constant(-GAIN * weight * sigma**2)))


def lung(net: Builder, image: str) -> str:
    """Give 1 in lung-like darkness, 0 in the body and in the air around it."""
    smooth = net.filtered(image, SURROUND_SIGMA, 0, 0)
    below = net.add("Sub", net.constant(BODY), smooth)
    above = net.add("Sub", smooth, net.constant(AIR))
    steep = net.constant(STEEPNESS)
    return net.add(
        "Mul",
        net.add("Sigmoid", net.add("Mul", below, steep)),
        net.add("Sigmoid", net.add("Mul", above, steep)),
    )


def build() -> onnx.ModelProto:
    """Build the network."""
    net = Builder()
    scores = [roundness(net, "image", *scale) for scale in zip(SIGMAS, WEIGHTS, strict=True)]
    stack = net.add("Concat", *scores, axis=1)
    best = net.add("ReduceMax", stack, axes=[1], keepdims=1)
    index = net.add("ArgMax", stack, axis=1, keepdims=1)
    diameters = net.constant(np.asarray(SIGMAS) * DIAMETER_PER_SIGMA)
    net.nodes.append(helper.make_node("Gather", [diameters, index], ["diameter"], axis=0))
    gated = net.add("Mul", best, lung(net, "image"))
    window = {"kernel_shape": [PEAK, PEAK], "pads": [PEAK // 2] * 4, "strides": [1, 1]}
    highest = net.add("MaxPool", gated, **window)
    peak = net.add("Cast", net.add("Equal", gated, highest), to=TensorProto.FLOAT)
    net.nodes.append(helper.make_node("Mul", [gated, peak], ["score"]))
    shape = ["n", 1, "h", "w"]
    graph = helper.make_graph(
        net.nodes,
        "chest_xray_findings",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("diameter", TensorProto.FLOAT, shape),
        ],
        net.weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="make.py"
    )
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    target = Path(__file__).parent / "1" / "model.onnx"
    target.write_bytes(build().SerializeToString(deterministic=True))
