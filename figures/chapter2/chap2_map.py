"""Which section of chapter 2 needs which."""

from figures import diagram


def figure():
    fig, ax = diagram.canvas(12, 4.4)
    box = diagram.sections(ax, {
        '2.1\n自回归建模': (1.7, 3.5, 'C0'),
        '2.2\n目标与损失': (5.6, 3.5, 'C0'),
        '2.3\n数据与采样': (1.7, 1.0, 'C1'),
        '2.4\n规模与超参数': (5.6, 1.0, 'C1'),
        '2.5\n训练稳定性': (10.0, 3.5, 'C2'),
        '2.6\n预训练的本质': (10.0, 1.0, 'C2'),
    }, width=2.9)
    for start, end in (('2.1', '2.2'), ('2.2', '2.5'), ('2.3', '2.4'), ('2.4', '2.6')):
        diagram.arrow(ax, box[start].right, box[end].left)
    diagram.arrow(ax, (box['2.4'].right[0], box['2.4'].y + 0.3), (box['2.5'].left[0], box['2.5'].y - 0.3))
    diagram.arrow(ax, (box['2.1'].right[0], box['2.1'].y - 0.3), (box['2.6'].left[0], box['2.6'].y + 0.3))
    return fig
