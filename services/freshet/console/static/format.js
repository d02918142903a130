// Numbers and times for people. Seconds in, text out; an en dash where nothing is known.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const NONE = "–";

export const count = (value) => (value === null || value === undefined ? NONE : whole.format(value));

// "1 answer", "2 answers".
export const counted = (value, noun, many = `${noun}s`) => `${count(value)} ${value === 1 ? noun : many}`;

export function seconds(value) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return "0 s";
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 100) return `${value.toFixed(0)} s`;
  if (value < 6000) return `${(value / 60).toFixed(0)} min`;
  return value < 172800 ? `${(value / 3600).toFixed(0)} h` : `${(value / 86400).toFixed(0)} d`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return NONE;
  if (value >= 1000) return `${(value / 1000).toFixed(value < 10000 ? 1 : 0)} s`;
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ms`;
}

// A latency that was measured in seconds.
export const latency = (value) => milliseconds(value === null || value === undefined ? null : value * 1e3);

export function rate(value) {
  if (value === null || value === undefined) return NONE;
  return value > 0 && value < 10 ? value.toFixed(1) : whole.format(value);
}

export const percent = (value) =>
  value === null || value === undefined ? NONE : `${(value * 100).toFixed(value > 0.995 && value < 1 ? 1 : 0)} %`;

// What an event's freshness measures: from its record in Kafka until this.
const REACHED = { product: "product → found", hidden: "product → hidden", removal: "product → removed", review: "review → counted" };
export const reached = (event) => REACHED[event] ?? `${event.replaceAll("_", " ")} → reflected`;

export const clock = (milliseconds) =>
  milliseconds ? new Date(milliseconds).toLocaleTimeString("en-GB") : NONE;

export const moment = (milliseconds) =>
  milliseconds ? new Date(milliseconds).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" }) : NONE;

export function price(value, currency) {
  if (value === null || value === undefined) return "";
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency: currency || "EUR" }).format(value);
  } catch {
    return `${value.toFixed(2)} ${currency}`;
  }
}
