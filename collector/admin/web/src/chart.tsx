// Line charts over the last minutes (uPlot, on a canvas) and sparklines (SVG). Both say in words what they
// show, because a canvas says nothing.
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Line { label: string; color: string; fill?: boolean }      // color: a CSS variable's name

interface ChartProps {
  description: string;
  lines: Line[];
  data: (number | null)[][];      // times, then one row for each line
  format: (value: number) => string;
}

const HEIGHT = 190;
const SHORTEST = 60;      // seconds: a new page need not show five empty minutes
const cssColor = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function optionsOf(lines: Line[], width: number, format: (value: number) => string): uPlot.Options {
  const axis = { stroke: cssColor('--muted'), font: '11px system-ui, sans-serif', grid: { stroke: cssColor('--grid'), width: 1 }, ticks: { show: false } };
  return {
    width, height: HEIGHT, padding: [8, 6, 0, 0], legend: { show: false },
    cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
    scales: {
      x: { time: true, range: (_plot, min, max) => [Math.min(min, max - SHORTEST), max] },
      y: { range: (_plot, _min, max) => [0, Math.max(1, (max ?? 0) * 1.15)] },
    },
    axes: [
      { ...axis, size: 26, space: 70, values: (_plot, times) => times.map((time) => new Date(time * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })) },
      { ...axis, size: 54, space: 36, values: (_plot, values) => values.map((value) => format(value)) },
    ],
    series: [{}, ...lines.map((line) => ({
      label: line.label, stroke: cssColor(line.color), width: 2, points: { show: false }, spanGaps: false,
      ...(line.fill ? { fill: `color-mix(in srgb, ${cssColor(line.color)} 12%, transparent)` } : {}),
    }))],
  };
}

export function Chart({ description, lines, data, format }: ChartProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const readout = useRef<HTMLOutputElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef({ lines, data, format });
  latest.current = { lines, data, format };

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const build = (): void => {
      plot.current?.destroy();
      const now = latest.current;
      const options = optionsOf(now.lines, element.clientWidth, now.format);
      options.hooks = { setCursor: [(at) => {
        const index = at.cursor.idx;
        const time = index === null || index === undefined ? undefined : at.data[0][index];
        if (readout.current === null) return;
        readout.current.textContent = time === undefined || index === null || index === undefined ? '' :
          `${new Date(time * 1000).toLocaleTimeString('en-GB')} · ${latest.current.lines.map((line, i) => {
            const value = at.data[i + 1]?.[index];
            return `${line.label} ${value === null || value === undefined ? '–' : latest.current.format(value)}`;
          }).join(' · ')}`;
      }] };
      plot.current = new uPlot(options, now.data as uPlot.AlignedData, element);
    };
    build();
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', build);
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      dark.removeEventListener('change', build);
      resized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, []);
  useEffect(() => { plot.current?.setData(data as uPlot.AlignedData); }, [data]);

  return <figure class="chart">
    <figcaption>
      <ul class="legend">{lines.map((line) => <li class={`key ${line.color.slice(2)}`}>{line.label}</li>)}</ul>
      <output class="readout" ref={readout} aria-hidden="true" />
    </figcaption>
    <div class="plot" ref={box} role="img" aria-label={description} />
  </figure>;
}

export function Sparkline({ values, label }: { values: (number | null)[]; label: string }): JSX.Element {
  const width = 120;
  const height = 28;
  const most = Math.max(1e-9, ...values.map((value) => value ?? 0));
  const at = values.map((value, i) => [values.length < 2 ? width : i * width / (values.length - 1), height - 2 - (value ?? 0) / most * (height - 4)] as const);
  const line = at.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');
  return <svg class="sparkline" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={label}>
    {at.length > 1 ? <><path class="area" d={`${line}L${width} ${height}L0 ${height}Z`} /><path class="line" d={line} /></> : null}
  </svg>;
}
