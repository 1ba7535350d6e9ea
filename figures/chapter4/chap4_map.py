"""Which section of chapter 4 needs which."""

from figures import diagram


def figure():
    fig, ax = diagram.canvas(12, 5.6)
    box = diagram.sections(ax, {
        '4.1\n奖励模型': (2.2, 4.7, 'C0'),
        '4.4\n数学基础': (2.2, 2.8, 'C2'),
        '4.2\nPPO': (2.2, 0.9, 'C1'),
        '4.3\nDPO': (9.8, 4.7, 'C0'),
        '4.6\n未来': (9.8, 2.8, 'C3'),
        '4.5\n实践': (9.8, 0.9, 'C1'),
    }, width=2.7)
    for start, end in (('4.1', '4.3'), ('4.2', '4.5')):
        diagram.arrow(ax, box[start].right, box[end].left)
    for start, drop, end, height in (('4.1', 0.35, '4.6', 0), ('4.4', 0, '4.5', 0.35)):
        diagram.arrow(ax, (box[start].right[0], box[start].y - drop), (box[end].left[0], box[end].y + height))
    return fig
