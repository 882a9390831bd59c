"""The authors' res2net_v1b.py (v1b, timm's "d"): deep stem, average pool in the shortcut."""
from . import res2net
from .blocks import Bottle2neck
from .functions import AUTHORS, function

__all__ = [
    'Bottle2neck', 'Res2Net', 'model_urls', 'res2net50_v1b', 'res2net50_v1b_26w_4s', 'res2net101_v1b',
    'res2net101_v1b_26w_4s', 'res2net152_v1b_26w_4s']

model_urls = {
    'res2net50_v1b_26w_4s': f'{AUTHORS}res2net50_v1b_26w_4s-3cf99910.pth',
    'res2net101_v1b_26w_4s': f'{AUTHORS}res2net101_v1b_26w_4s-0812c246.pth',
}


class Res2Net(res2net.Res2Net):
    """Res2Net v1b. Its `relu` leaves its input as it was, as there: what came out of `bn1` can still be used."""
    form = dict(stem_type='deep', stem_width=32, avg_down=True)
    relu_in_place = False


res2net50_v1b = function('res2net50_v1b', Res2Net, Bottle2neck, 'res2net50d_custom.in1k')
res2net101_v1b = function('res2net101_v1b', Res2Net, Bottle2neck, 'res2net101d_custom.in1k')
res2net50_v1b_26w_4s = function('res2net50_v1b_26w_4s', Res2Net, Bottle2neck, 'res2net50d_custom.in1k')
res2net101_v1b_26w_4s = function('res2net101_v1b_26w_4s', Res2Net, Bottle2neck, 'res2net101d_custom.in1k')
res2net152_v1b_26w_4s = function('res2net152_v1b_26w_4s', Res2Net, Bottle2neck, 'res2net152d_custom')
