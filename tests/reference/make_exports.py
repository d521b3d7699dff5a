"""Exports the real architectures of the other model families with random weights, to check their decoders.

Usage: make_exports.py VIDEO FOLDER [SIDE]
FOLDER gets NAME.onnx for each architecture, with an input of SIDE x SIDE pixels (default 160). Run by hand through
tests/reference/families, which has the packages.

Nobody's trained weights are used. So that random weights give boxes that differ, the batch normalisations are set
from real frames and the last layers are scaled until the scores before their sigmoid spread: for the DETR kinds around
-5 by 2, for the YOLO kinds, which amplify what differs between frames many times, around -1.5 by 0.4.
"""

import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_OFFLINE", "true")

import numpy as np
import torch
from torch import nn

OF_DETR, OF_YOLO = (-5.0, 2.0), (-1.5, 0.4)
FRAME = (576, 768)


def frames_of(video, side, letterboxed=False):
    """Some frames as a batch of RGB, 0 to 1, fitted in as the architecture is fed.

    Through three scalers: random weights are touchy, and a network set up on smooth frames would shout at sharp ones.
    """
    height = side * FRAME[0] // FRAME[1] if letterboxed else side
    batch = torch.cat([scaled(video, side, height, scaler) for scaler in ("bicubic", "bilinear", "neighbor")])
    top = (side - height) // 2
    return nn.functional.pad(batch, (0, 0, top, side - height - top), value=114 / 255)


def scaled(video, width, height, scaler):
    choose = f"select=not(mod(n\\,100)),scale={width}:{height}:flags={scaler}"
    command = ["ffmpeg", "-v", "error", "-i", video, "-vf", choose, "-vsync", "0"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    pixels = np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3).copy()
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def settle(model, batch):
    """Sets every batch normalisation to the statistics of real frames, so that the signal neither dies nor explodes."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        model(batch)
    for norm in norms:
        norm.momentum = 0.1
        norm.eval()


def spread(model, batch, layers, mean, deviation):
    """Scales last layers one after the other so that what each gives has this mean and deviation on real frames."""
    for layer in layers:
        seen = []
        hook = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach()))
        with torch.no_grad():
            model(batch)
            hook.remove()
            scale = deviation / max(float(seen[0].std()), 1e-6)
            layer.weight.mul_(scale)
            layer.bias.mul_(scale)
            layer.bias.add_(mean - float(seen[0].mean()) * scale)


def enliven(layers, size):
    """Gives layers that start as zeros random weights."""
    with torch.no_grad():
        for layer in layers:
            nn.init.normal_(layer.weight, std=size)
            nn.init.normal_(layer.bias, std=size)


def ultralytics(name, folder, batch, side, **export):
    from ultralytics import RTDETR, YOLO

    whole = (RTDETR if name.startswith("rtdetr") else YOLO)(name + ".yaml")
    model = whole.model.eval()
    if name.startswith("rtdetr"):
        settle(model, batch)
        decoder = model.model[-1]
        prepare_decoder(model, batch, decoder, [head.layers[-1] for head in decoder.dec_bbox_head])
    else:
        settle(model, batch)
        head = model.model[-1]
        both = [("cv2", "cv3"), ("one2one_cv2", "one2one_cv3")]
        for boxes, classes in both:
            if getattr(head, boxes, None) is None:
                continue
            # Without bins the numbers are the distances themselves.
            sides = (2.0, 1.0) if head.reg_max == 1 else (0.0, 1.0)
            model.end2end = boxes.startswith("one2one")
            spread(model, batch, [level[-1] for level in getattr(head, boxes)], *sides)
            favour_small(getattr(head, boxes), head.reg_max)
            spread(model, batch, [level[-1] for level in getattr(head, classes)], *OF_YOLO)
        model.end2end = False
    written = whole.export(format="onnx", imgsz=side, simplify=False, opset=17, verbose=False, **export)
    Path(written).replace(folder / f"{name}.onnx")


def favour_small(levels, bins):
    """Makes far sides less likely, so that boxes do not all fill the picture."""
    with torch.no_grad():
        for level in levels:
            level[-1].bias.view(4, bins).sub_(0.5 * torch.arange(bins))


def prepare_decoder(model, batch, decoder, box_layers):
    enliven([decoder.enc_bbox_head.layers[-1], *box_layers], 0.02)
    spread(model, batch, [decoder.enc_score_head], *OF_DETR)
    spread(model, batch, [head for head in list(decoder.dec_score_head)[-1:]], *OF_DETR)


class Outputs(nn.Module):
    """A network whose dictionary becomes outputs in an order."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        found = self.model(images)
        return found["pred_logits"], found["pred_boxes"]


class Labelled(nn.Module):
    """A network with the post-processor of the D-FINE project behind it, as that project exports it.

    The sizes, a second input there, are a constant: the input's own.
    """

    def __init__(self, model, side):
        super().__init__()
        self.outputs, self.side = Outputs(model), side

    def forward(self, images):
        logits, boxes = self.outputs(images)
        scores, index = torch.topk(logits.sigmoid().flatten(1), logits.shape[1], dim=-1)
        labels = index % logits.shape[2]
        x, y, width, height = boxes.unbind(-1)
        corners = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1) * self.side
        query = torch.div(index, logits.shape[2], rounding_mode="floor")
        return labels, corners.gather(1, query.unsqueeze(-1).repeat(1, 1, 4)), scores


def export(model, folder, name, side, outputs):
    images = torch.zeros(1, 3, side, side)
    path = folder / f"{name}.onnx"
    torch.onnx.export(
        model, (images,), path, input_names=["images"], output_names=outputs, opset_version=17, dynamo=False
    )


def rtdetr(folder, batch, side):
    from libreyolo.models.rtdetr.nn import RTDETRModel

    model = RTDETRModel(backbone_depth=18, num_denoising=0, eval_spatial_size=None).eval()
    settle(model, batch)
    prepare_decoder(model, batch, model.decoder, [head.layers[-1] for head in model.decoder.dec_bbox_head])
    export(Outputs(model), folder, "rtdetr-r18", side, ["pred_logits", "pred_boxes"])


def dfine(folder, video, side):
    from libreyolo.models.dfine.nn import LibreDFINEModel

    # The smallest size has no grid of stride 8; in a smaller input it would have fewer cells than queries.
    side *= 2
    batch = frames_of(video, side)
    model = LibreDFINEModel("n", eval_spatial_size=(side, side)).eval()
    settle(model, batch)
    decoder = model.decoder
    layers = [decoder.pre_bbox_head.layers[-1], *(head.layers[-1] for head in decoder.dec_bbox_head)]
    prepare_decoder(model, batch, decoder, layers)
    model.deploy()
    export(Outputs(model), folder, "dfine-n", side, ["logits", "pred_boxes"])
    export(Labelled(model, side), folder, "dfine-n-labelled", side, ["labels", "boxes", "scores"])


def main():
    video, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    side = int(sys.argv[3]) if len(sys.argv) > 3 else 160
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    batch = frames_of(video, side)
    torch.manual_seed(7)
    letterboxed = frames_of(video, side, letterboxed=True)
    ultralytics("yolov8n", folder, letterboxed, side)
    ultralytics("yolo11n", folder, letterboxed, side)
    ultralytics("yolo26n", folder, letterboxed, side, nms=False)
    ultralytics("yolov10n", folder, letterboxed, side, nms=False)
    ultralytics("rtdetr-resnet50", folder, batch, side)
    rtdetr(folder, batch, side)
    dfine(folder, video, side)


if __name__ == "__main__":
    main()
