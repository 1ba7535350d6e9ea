"""Which section of chapter 3 needs which."""

from figures import diagram


def figure():
    fig, ax = diagram.canvas(12, 5.6)
    box = diagram.sections(ax, {
        '3.1\n监督微调': (1.7, 4.7, 'C0'),
        '3.5\n多任务': (1.7, 2.8, 'C3'),
        '3.2\n参数高效': (1.7, 0.9, 'C1'),
        '3.4\n指令微调': (5.8, 4.7, 'C0'),
        '3.3\n提示学习': (5.8, 0.9, 'C1'),
        '3.6\n持续学习': (10.0, 2.8, 'C2'),
    }, width=2.7)
    for start, end in (('3.1', '3.4'), ('3.2', '3.3'), ('3.5', '3.6')):
        diagram.arrow(ax, box[start].right, box[end].left)
    for start, drop, height in (('3.1', 0.45, 0.3), ('3.2', -0.45, -0.3)):
        diagram.arrow(ax, (box[start].right[0], box[start].y - drop), (box['3.6'].left[0], box['3.6'].y + height))
    return fig
