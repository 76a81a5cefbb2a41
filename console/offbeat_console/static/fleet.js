// The overview's table: keeps its rows, is sent only what changed, draws shape, word and colour.
const WIDTH = 84, HEIGHT = 18, TOP = 2;
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/";

export default {
  props: { looks: Object, alarms: Object },
  data: () => ({ rows: {}, order: [], now: Date.now(), scored: false }),
  template: `
    <table class="fleet" :class="{ scored }" aria-label="Assets, worst first">
      <thead><tr>
        <th scope="col">State</th><th scope="col">Asset</th>
        <th scope="col" class="col-score">Score <span class="hint">1.0 = threshold</span></th>
        <th scope="col" class="col-what">What</th><th scope="col" class="col-since">Since</th>
        <th scope="col" class="col-gw">Gateway</th>
      </tr></thead>
      <tbody ref="body">
        <tr v-for="key in order" :key="key" :class="['asset', 's-' + rows[key].state, 'a-' + rows[key].alarm]"
            @click="open($event, rows[key])">
          <td class="col-state"><svg class="glyph" viewBox="0 0 16 16" aria-hidden="true"
               :style="glyph(rows[key].state)"><path :d="looks[rows[key].state].path"/></svg>
            <span class="word">{{ looks[rows[key].state].word }}</span></td>
          <td class="col-asset"><a :href="'/asset/' + rows[key].gateway + '/' + rows[key].asset">{{ rows[key].asset }}</a></td>
          <td class="col-score"><template v-if="rows[key].score !== null">
            <svg v-if="rows[key].spark.length > 1" class="spark" :viewBox="'0 0 ${WIDTH} ${HEIGHT}'" aria-hidden="true">
              <line x1="0" x2="${WIDTH}" y1="${HEIGHT / TOP}" y2="${HEIGHT / TOP}"/>
              <path :d="curve(rows[key].spark)"/></svg>
            <span class="number" :class="{ over: rows[key].score > 1 }">{{ number(rows[key].score) }}</span>
          </template></td>
          <td class="col-what"><span v-if="alarms[rows[key].alarm]" class="tag" :class="'tag-' + rows[key].alarm">{{ alarms[rows[key].alarm] }}</span>
            {{ rows[key].what }}</td>
          <td class="col-since"><time v-if="rows[key].since_ms" :datetime="stamp(rows[key].since_ms)"
               :title="stamp(rows[key].since_ms)">{{ stamp(rows[key].since_ms).slice(5, 16).replace('T', ' ') }}</time></td>
          <td class="col-gw">{{ rows[key].gateway }}</td>
        </tr>
      </tbody>
    </table>`,
  methods: {
    patch({ rows, order, scored }) {
      this.scored = scored;
      for (const row of rows) this.rows[row.key] = row;
      if (order) {
        this.order = order;
        const keep = new Set(order);
        for (const key of Object.keys(this.rows)) if (!keep.has(key)) delete this.rows[key];
      }
    },
    open(event, row) {
      if (event.target.closest("a") || window.getSelection().toString()) return;
      window.location.href = "/asset/" + row.gateway + "/" + row.asset;
    },
    glyph(state) {
      const colour = `var(--s-${state})`;
      return this.looks[state].filled
        ? { fill: colour } : { fill: "none", stroke: colour, strokeWidth: 2 };
    },
    curve(text) {
      const step = WIDTH / 39;
      const start = WIDTH - (text.length - 1) * step;
      return "M" + [...text].map((c, i) =>
        (start + i * step).toFixed(1) + " " + (HEIGHT - 1 - DIGITS.indexOf(c) / 63 * (HEIGHT - 2)).toFixed(1)).join("L");
    },
    number: (score) => score >= 100 ? Math.round(score) : score.toFixed(2),
    stamp: (ms) => new Date(ms).toISOString(),
    move(step) {
      const links = [...this.$refs.body.querySelectorAll(".col-asset a")];
      const at = links.indexOf(document.activeElement);
      links[Math.max(0, Math.min(links.length - 1, at < 0 ? 0 : at + step))]?.focus();
    },
  },
};
