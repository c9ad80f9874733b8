/** A message that is no protobuf, or not of this contract. */
export class MalformedMessage extends Error {
  override name = 'MalformedMessage';
}

interface NativeText {
  utf8Slice(start: number, end: number): string;
  latin1Slice(start: number, end: number): string;
}

const decoder = new TextDecoder('utf-8');

/** Short texts are read byte by byte: a call into the engine costs more. */
const SHORT = 24;

/**
 * Reads the wire format of protobuf from a range of bytes.
 *
 * Rows are decoded by it, straight into values of JavaScript: no message object stands between.
 */
export class WireReader {
  /** The lower 32 bits of the last 64-bit varint, as a signed number. */
  low = 0;
  /** Its upper 32 bits, as a signed number. */
  high = 0;
  readonly bytes: Uint8Array;
  position: number;
  readonly end: number;
  private readonly view: DataView;
  private readonly native: NativeText | undefined;

  constructor(bytes: Uint8Array, position = 0, end = bytes.length) {
    this.bytes = bytes;
    this.position = position;
    this.end = end;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const native = bytes as unknown as Partial<NativeText>;
    this.native = typeof native.utf8Slice === 'function' ? (native as NativeText) : undefined;
  }

  /** A varint of up to 32 bits: a tag, a length, an enum, a bool. */
  uint32(): number {
    const bytes = this.bytes;
    let byte = bytes[this.position++]!;
    if (byte < 0x80) return byte;
    let result = byte & 0x7f;
    for (let shift = 7; shift < 35; shift += 7) {
      byte = bytes[this.position++]!;
      result |= (byte & 0x7f) << shift;
      if (byte < 0x80) return result >>> 0;
    }
    throw new MalformedMessage('a varint is too long');
  }

  /** A varint of 64 bits, into `low` and `high`. */
  int64(): void {
    const bytes = this.bytes;
    let low = 0;
    let byte = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      byte = bytes[this.position++]!;
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) return this.hold(low, 0);
    }
    byte = bytes[this.position++]!;
    low |= (byte & 0x0f) << 28;
    let high = (byte & 0x7f) >> 4;
    if (byte < 0x80) return this.hold(low, high);
    for (let shift = 3; shift < 32; shift += 7) {
      byte = bytes[this.position++]!;
      high |= (byte & 0x7f) << shift;
      if (byte < 0x80) return this.hold(low, high);
    }
    throw new MalformedMessage('a varint is too long');
  }

  private hold(low: number, high: number): void {
    this.low = low;
    this.high = high;
  }

  /** The last 64-bit varint as a number: exact up to 2^53. */
  number(): number {
    return this.high * 4294967296 + (this.low >>> 0);
  }

  /** The last 64-bit varint, exact. */
  bigint(): bigint {
    const number = this.number();
    if (Number.isSafeInteger(number)) return BigInt(number);
    return (BigInt(this.high) << 32n) | BigInt(this.low >>> 0);
  }

  double(): number {
    const number = this.view.getFloat64(this.position, true);
    this.position += 8;
    return number;
  }

  /** The end of a length-delimited field that begins here. */
  limit(): number {
    const end = this.uint32() + this.position;
    if (end > this.end) throw new MalformedMessage('a field is longer than its message');
    return end;
  }

  /** Text up to `end`. */
  text(end: number): string {
    const { bytes, position: start } = this;
    this.position = end;
    if (end - start <= SHORT) {
      let text = '';
      let at = start;
      for (; at < end; at += 1) {
        const byte = bytes[at]!;
        if (byte > 0x7f) break;
        text += String.fromCharCode(byte);
      }
      if (at === end) return text;
    }
    if (this.native) return this.native.utf8Slice(start, end);
    return decoder.decode(bytes.subarray(start, end));
  }

  /** A copy of the bytes up to `end`. */
  copy(end: number): Uint8Array {
    const copy = new Uint8Array(end - this.position);
    copy.set(this.bytes.subarray(this.position, end));
    this.position = end;
    return copy;
  }

  /** Passes over a field with this tag. */
  skip(tag: number): void {
    switch (tag & 7) {
      case 0:
        this.int64();
        break;
      case 1:
        this.position += 8;
        break;
      case 2:
        this.position = this.limit();
        break;
      case 5:
        this.position += 4;
        break;
      default:
        throw new MalformedMessage(`a field has the unknown wire type ${tag & 7}`);
    }
  }
}
