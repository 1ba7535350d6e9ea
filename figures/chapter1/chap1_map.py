"""Which section of chapter 1 needs which."""

from figures import diagram


def figure():
    fig, ax = diagram.canvas(12, 5.2)
    box = diagram.sections(ax, {
        '1.1\n自注意力': (1.7, 3.9, 'C0'),
        '1.2\n多头注意力': (5.4, 4.5, 'C0'),
        '1.3\n位置编码': (5.4, 2.9, 'C0'),
        '1.4\n前馈与残差': (1.7, 1.0, 'C1'),
        '1.5\n归一化': (5.4, 1.0, 'C1'),
        '1.6\n实践与优化': (10.0, 2.6, 'C2'),
    }, width=2.7)
    for start, end in (('1.1', '1.2'), ('1.1', '1.3'), ('1.2', '1.6'), ('1.3', '1.6'), ('1.4', '1.5'), ('1.5', '1.6')):
        diagram.arrow(ax, box[start].right, box[end].left)
    diagram.arrow(ax, box['1.1'].bottom, (box['1.5'].left[0], box['1.5'].y + 0.3))
    below = (box['1.4'].x, box['1.4'].bottom[1] - 0.22)
    diagram.arrow(ax, box['1.4'].bottom, below, (box['1.6'].x, below[1]), box['1.6'].bottom)
    return fig
