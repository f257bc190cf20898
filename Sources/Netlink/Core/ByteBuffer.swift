/// Growable bytes with one owner. All raw memory of the codec is handled in this file: appending grows, storing and
/// reading stay inside `count`.
@safe struct ByteBuffer: ~Copyable, @unchecked Sendable {
  private var base: UnsafeMutableRawPointer
  private(set) var capacity: Int
  private(set) var count = 0

  /// The memory is not touched before it is written.
  init(capacity: Int) {
    self.capacity = max(capacity, 64)
    unsafe base = .allocate(byteCount: self.capacity, alignment: 16)
  }

  deinit { unsafe base.deallocate() }

  /// The bytes written so far.
  var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      let span = unsafe UnsafeRawBufferPointer(start: base, count: count).bytes
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// Makes room for `room` more bytes.
  @inline(__always)
  mutating func reserve(_ room: Int) {
    if capacity &- count < room { grow(room) }
  }

  @inline(never)
  private mutating func grow(_ room: Int) {
    let size = max(capacity * 2, count + room)
    let new = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
    unsafe new.copyMemory(from: base, byteCount: count)
    unsafe base.deallocate()
    unsafe base = new
    capacity = size
  }

  /// Appends a value's bytes in the machine's order.
  @inline(__always)
  mutating func append<T: BitwiseCopyable>(_ value: T) {
    reserve(MemoryLayout<T>.size)
    unsafe base.storeBytes(of: value, toByteOffset: count, as: T.self)
    count &+= MemoryLayout<T>.size
  }

  /// Appends bytes.
  mutating func append(_ bytes: RawSpan) {
    let n = bytes.byteCount
    reserve(n)
    let target = unsafe base + count
    unsafe bytes.withUnsafeBytes { source in
      if let start = source.baseAddress { unsafe target.copyMemory(from: start, byteCount: n) }
    }
    count &+= n
  }

  /// Appends zeros up to the next multiple of four.
  @inline(__always)
  mutating func pad() {
    while count & 3 != 0 { append(UInt8(0)) }
  }

  /// Overwrites a value that was appended before.
  @inline(__always)
  mutating func store<T: BitwiseCopyable>(_ value: T, at offset: Int) {
    precondition(offset >= 0 && offset <= count &- MemoryLayout<T>.size)
    unsafe base.storeBytes(of: value, toByteOffset: offset, as: T.self)
  }

  /// Forgets the content, keeps the memory.
  mutating func clear() { count = 0 }

  /// Replaces the content by what `body` writes into the memory; it returns the number of bytes, -1 for an error.
  mutating func fill(_ body: (UnsafeMutableRawBufferPointer) -> Int) -> Int {
    let n = unsafe body(UnsafeMutableRawBufferPointer(start: base, count: capacity))
    count = min(max(n, 0), capacity)
    return n
  }
}

extension RawSpan {
  /// The value at `offset` in the machine's byte order; nil when it does not lie inside. For integers and C structures
  /// without padding only, where every bit pattern is a value.
  @inline(__always)
  func load<T: BitwiseCopyable>(_ offset: Int = 0, as type: T.Type = T.self) -> T? {
    guard offset >= 0, MemoryLayout<T>.size <= byteCount, offset <= byteCount &- MemoryLayout<T>.size else {
      return nil
    }
    return unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: T.self)
  }

  /// The part from `start` (clamped) to the end.
  @_lifetime(copy self)
  func from(_ start: Int) -> RawSpan { extracting(Swift.min(Swift.max(start, 0), byteCount)..<byteCount) }

  /// Text up to the first zero; invalid UTF-8 is replaced.
  var text: String {
    unsafe withUnsafeBytes { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
