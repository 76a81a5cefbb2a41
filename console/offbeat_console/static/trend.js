// Strip charts on one time axis: what came, what the model expected, and spans of alerts.
// Keeps its points and is sent only new ones; colours are the page's own.
import { echarts } from "nicegui-echart";

const STRIP = 84, GAP = 14, TOP = 8, FOOT = 26;
const clock = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "2-digit", month: "short" });

export default {
  props: { label: String },
  template: `<div class="trend" role="img" :aria-label="label"></div>`,
  mounted() {
    this.strips = [];
    this.spans = [];
    this.keepMs = 0;
    this.from = this.to = null;
    this.chart = echarts.init(this.$el, null, { renderer: "canvas" });
    this.sized = new ResizeObserver(() => this.chart.resize());
    this.sized.observe(this.$el);
    this.themed = new MutationObserver(() => this.draw());
    this.themed.observe(document.body, { attributes: true, attributeFilter: ["class"] });
  },
  beforeUnmount() {
    this.sized.disconnect();
    this.themed.disconnect();
    this.chart.dispose();
  },
  methods: {
    set({ strips, spans, keep_ms, from, to }) {
      this.strips = strips;
      this.spans = spans;
      this.keepMs = keep_ms;
      this.from = from;
      this.to = to;
      this.$el.style.height = `${TOP + FOOT + strips.length * (STRIP + GAP)}px`;
      this.chart.resize();
      this.draw();
    },
    add({ strips, spans }) {
      const known = Object.fromEntries(this.strips.map((s) => [s.name, s]));
      for (const fresh of strips) {
        const strip = known[fresh.name];
        if (!strip) continue;
        for (const line of ["actual", "expected"]) strip[line].push(...fresh[line]);
      }
      if (spans) this.spans = spans;
      const newest = Math.max(...this.strips.map((s) => s.actual.at(-1)?.[0] ?? 0));
      if (this.keepMs) for (const strip of this.strips) for (const line of ["actual", "expected"]) {
        const first = strip[line].findIndex((p) => p[0] >= newest - this.keepMs);
        if (first > 0) strip[line].splice(0, first);
      }
      this.draw();
    },
    colour(name) {
      return getComputedStyle(document.body).getPropertyValue(name).trim();
    },
    extent() {
      let low = Infinity, high = -Infinity;
      for (const s of this.strips) for (const line of [s.actual, s.expected]) if (line.length) {
        low = Math.min(low, line[0][0]);
        high = Math.max(high, line.at(-1)[0]);
      }
      return [this.from ?? low, this.to ?? high];
    },
    draw() {
      if (!this.strips.length) return;
      const narrow = this.$el.clientWidth < 600;
      const [ink, muted, line, panel] = ["--ink", "--muted", "--line", "--panel"].map(this.colour);
      const actual = this.colour("--c-actual"), expected = this.colour("--c-expected");
      const [low, high] = this.extent();
      const font = getComputedStyle(document.body).fontFamily;
      const left = narrow ? 8 : 148;
      const last = this.strips.length - 1;
      const top = (i) => TOP + i * (STRIP + GAP);
      const span = high - low;
      const areas = this.spans.map((s) => [
        { xAxis: Math.max(low, s.from), itemStyle: { color: this.colour(`--s-${s.kind}`), opacity: 0.13 } },
        { xAxis: Math.min(high, s.to ?? high) },
      ]);
      this.chart.setOption({
        animation: false,
        textStyle: { fontFamily: font },
        axisPointer: { link: [{ xAxisIndex: "all" }], lineStyle: { color: muted } },
        tooltip: {
          trigger: "axis", backgroundColor: panel, borderColor: line, textStyle: { color: ink, fontSize: 12 },
          formatter: (points) => this.tip(points),
        },
        title: this.strips.map((s, i) => ({
          text: narrow ? s.title + "  " + this.newest(s).replace("\n", ", ") : s.title, subtext: narrow ? "" : this.newest(s), left: narrow ? 12 : 4, top: top(i) + (narrow ? -6 : 12), padding: 0, itemGap: 4,
          textStyle: { fontSize: 12, fontWeight: 600, color: ink, width: narrow ? 300 : 130, overflow: "truncate" },
          subtextStyle: { fontSize: 11, color: muted, lineHeight: 14 },
        })),
        grid: this.strips.map((_, i) => ({ left, right: narrow ? 40 : 56, top: top(i), height: STRIP })),
        xAxis: this.strips.map((_, i) => ({
          type: "time", gridIndex: i, min: low, max: high, axisLine: { show: i === last, lineStyle: { color: line } },
          axisTick: { show: i === last }, splitLine: { show: true, lineStyle: { color: line, opacity: 0.6 } },
          splitNumber: narrow ? 3 : 8,
          axisLabel: { show: i === last, color: muted, hideOverlap: true,
            formatter: (t) => span > 36 * 3600e3 ? day.format(t) + " " + clock.format(t).slice(0, 5)
              : span > 20 * 60e3 ? clock.format(t).slice(0, 5) : clock.format(t) },
        })),
        yAxis: this.strips.map((s, i) => ({
          type: "value", gridIndex: i, position: "right", scale: !s.threshold, min: s.threshold ? 0 : undefined,
          max: s.threshold ? (v) => Math.max(2, Math.ceil(v.max)) : undefined, splitNumber: 2,
          axisLabel: { color: muted, fontSize: 10, hideOverlap: true,
            formatter: (v) => Math.abs(v) >= 1e5 ? v.toExponential(1) : +v.toPrecision(5) },
          splitLine: { show: false }, axisLine: { show: false }, axisTick: { show: false },
        })),
        series: this.strips.flatMap((s, i) => [
          { name: s.name, type: "line", xAxisIndex: i, yAxisIndex: i, data: s.actual, showSymbol: false,
            lineStyle: { width: 1.4, color: s.threshold ? ink : actual }, itemStyle: { color: s.threshold ? ink : actual },
            markArea: { silent: true, data: areas },
            markLine: s.threshold ? { silent: true, symbol: "none", label: { show: false }, data: [{ yAxis: 1 }],
              lineStyle: { color: this.colour("--s-anomaly"), type: [4, 4], width: 1 } } : undefined },
          { name: s.name + " expected", type: "line", xAxisIndex: i, yAxisIndex: i, data: s.expected, showSymbol: false,
            lineStyle: { width: 1.4, color: expected, type: [5, 3] }, itemStyle: { color: expected } },
        ]),
      }, { replaceMerge: ["series", "grid", "xAxis", "yAxis", "title"], lazyUpdate: true });
    },
    newest(strip) {
      const value = (points) => points.length && points.at(-1)[1] !== null ? +points.at(-1)[1].toPrecision(4) : null;
      const told = Math.max(...this.strips.map((s) => s.expected.at(-1)?.[0] ?? 0));
      const fresh = strip.expected.at(-1)?.[0] === told;  // an old expectation is no news
      const came = value(strip.actual), want = fresh ? value(strip.expected) : null;
      if (came === null) return "";
      if (strip.threshold) return `${came}\nthreshold 1.0`;
      return want === null ? `${came}` : `${came}\nexpected ${want}`;
    },
    tip(points) {
      if (!points.length) return "";
      const t = points[0].axisValue;
      const at = points.filter((p) => p.value?.[1] !== null && p.value?.[1] !== undefined);
      const rows = at.map((p) => `${p.marker}${echarts.format.encodeHTML(p.seriesName)} <b>${+p.value[1].toPrecision(5)}</b>`);
      return `${day.format(t)} ${clock.format(t)} UTC<br>${rows.join("<br>")}`;
    },
  },
};
