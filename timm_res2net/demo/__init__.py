"""A page to look inside a Res2Net: what it answers, where it looks, what each group of each block sees.

What is shown is computed by plain functions, a file each; `page.py` and `side.py` alone import gradio (extra `demo`).

    photo.py      a picture of the visitor's -> the pixels that a model sees
    subject.py    a model with what the page says of it, and the few that are kept
    answer.py     classes and class activation maps
    block.py      a block's facts, and the activations of its groups
    windows.py    what each group sees around a pixel, theoretical and effective, at every depth
    numbers.py    parameters, MACs, milliseconds, receptive field
    drawing.py, diagram.py, figures.py    pictures, SVG and HTML of these
    page.py       the page
    side.py       one of its two columns, for a model
    serving.py    the page served, leaving nothing behind
    space.py      the page as a folder for Hugging Face Spaces
"""
