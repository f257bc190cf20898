import NetTypes
import Syscalls

/// Which addresses an attachment holds, without reading every address file. The address files stay the truth: what is
/// found here is compared with the file, and the index counts only while the directory has not changed since it was
/// written.
///
/// That is seen by the directory's modification time. After each change under the lock it is set to a time in the past,
/// and the index records it: whoever else creates or removes a file (the reference plugin shares these directories)
/// gives the directory a present time, which can never equal the recorded one. An index from before the last boot does
/// not count either, since its blocks may not have reached the disk in order.
///
/// Layout, little endian: 8 bytes magic, 8 bytes time (ns), then records of 32 bytes: 8 bytes hash of the attachment,
/// 1 byte family (4, 6, 0 = free), 7 bytes zero, 16 bytes address.
struct ReservationIndex {
  static let fileName = ".weft-index"
  /// More records than this are not indexed.
  static let maximumCount = 1 << 16

  private static let magic: [UInt8] = Array("WEFTIDX1".utf8)
  private static let headerSize = 16
  private static let recordSize = 32

  private(set) var bytes: [UInt8]

  /// An index of nothing.
  init() { bytes = Self.magic + [UInt8](repeating: 0, count: 8) }

  /// Takes over what was read, if it was written for a directory with this modification time (ns).
  init?(_ bytes: [UInt8], directoryTime: Int64) {
    guard bytes.count >= Self.headerSize, (bytes.count - Self.headerSize) % Self.recordSize == 0,
      bytes.count <= Self.headerSize + Self.maximumCount * Self.recordSize, bytes.starts(with: Self.magic)
    else { return nil }
    self.bytes = bytes
    guard number(8) == UInt64(bitPattern: directoryTime) else { return nil }
  }

  /// Records the directory's time.
  mutating func stamp(_ time: Int64) { put(UInt64(bitPattern: time), 8) }

  /// FNV-1a of the attachment; collisions are harmless, as the files are compared.
  static func hash(_ attachment: CNIRequest.Attachment) -> UInt64 {
    var h: UInt64 = 0xcbf2_9ce4_8422_2325
    for c in attachment.containerID.utf8 { h = (h ^ UInt64(c)) &* 0x100_0000_01b3 }
    h = (h ^ 0xff) &* 0x100_0000_01b3
    for c in attachment.ifname.utf8 { h = (h ^ UInt64(c)) &* 0x100_0000_01b3 }
    return h
  }

  /// The addresses noted for an attachment.
  func addresses(of hash: UInt64) -> [IPAddress] {
    offsets(of: hash).compactMap { address(at: $0) }
  }

  /// The records of an attachment. This runs over all records in every call of the plugin, hence without bounds checks.
  private func offsets(of hash: UInt64) -> [Int] {
    var out: [Int] = []
    unsafe bytes.withUnsafeBytes { all in
      for r in stride(from: Self.headerSize, through: all.count - Self.recordSize, by: Self.recordSize)
      where unsafe all.loadUnaligned(fromByteOffset: r, as: UInt64.self) == hash.littleEndian { out.append(r) }
    }
    return out
  }

  mutating func insert(_ a: IPAddress, _ hash: UInt64) {
    let free = records.first { bytes[$0 + 8] == 0 } ?? bytes.count
    if free == bytes.count { bytes.append(contentsOf: repeatElement(0, count: Self.recordSize)) }
    put(hash, free)
    bytes[free + 8] = a.family.rawValue
    for (i, b) in a.bytes.enumerated() { bytes[free + 16 + i] = b }
  }

  mutating func remove(_ a: IPAddress, _ hash: UInt64) {
    for r in offsets(of: hash) where address(at: r) == a {
      for i in r..<r + Self.recordSize { bytes[i] = 0 }
    }
  }

  /// Offsets of the records; all of a record is inside `bytes`.
  private var records: StrideTo<Int> { stride(from: Self.headerSize, to: bytes.count, by: Self.recordSize) }

  private func address(at record: Int) -> IPAddress? {
    switch bytes[record + 8] {
    case 4: IPAddress(bytes: bytes[(record + 16)..<(record + 20)])
    case 6: IPAddress(bytes: bytes[(record + 16)..<(record + 32)])
    default: nil
    }
  }

  private func number(_ offset: Int) -> UInt64 {
    var n: UInt64 = 0
    for i in (0..<8).reversed() { n = n << 8 | UInt64(bytes[offset + i]) }
    return n
  }

  private mutating func put(_ n: UInt64, _ offset: Int) {
    for i in 0..<8 { bytes[offset + i] = UInt8(truncatingIfNeeded: n >> UInt64(8 * i)) }
  }
}
