import Glibc
public import NetTypes
public import Syscalls

/// A table of the legacy variant of iptables, read from the kernel in one piece (`linux/netfilter_ipv4/ip_tables.h`,
/// `ip6_tables.h`).
public struct LegacyTable: Sendable {
  private let family: AddressFamily
  private let entries: [UInt8]
  /// Names of chains by the place of their first rule.
  private var names: [Int: String] = [:]
  /// Where the rules of each chain are, without the last one: the policy, or the way back.
  private(set) var places: [String: [Int]] = [:]

  /// nil when there is none; one is not made by looking.
  public static func read(_ table: String, _ family: AddressFamily) throws(SystemError) -> LegacyTable? {
    let names = "/proc/thread-self/net/\(family == .ipv4 ? "ip" : "ip6")_tables_names"
    guard let present = try? Files.text(names), present.split(separator: "\n").contains(Substring(table)) else {
      return nil
    }
    let number = socket(
      family == .ipv4 ? AF_INET : AF_INET6, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 255)
    guard number >= 0 else { throw SystemError("open a raw socket") }
    let descriptor = FileDescriptor(adopting: number)
    while true {
      // IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES; both begin with the name in 32 bytes.
      guard let info = try get(descriptor.number, table, family, 64, size: 84, request: []) else { return nil }
      let size = Int(clamping: info.word32(80))
      guard size < 256 << 20 else { throw SystemError("read table of iptables-legacy", table, .tooLarge) }
      let request = (0..<4).map { UInt8(truncatingIfNeeded: size >> ($0 * 8)) }
      // nil: the table changed in between.
      guard let all = try get(descriptor.number, table, family, 65, size: 40 + size, request: request) else { continue }
      return LegacyTable(family, info: info, entries: Array(all.dropFirst(40)))
    }
  }

  /// An option of the table; nil when the kernel has no such table, or another size of it.
  private static func get(
    _ socket: Int32, _ table: String, _ family: AddressFamily, _ option: Int32, size: Int, request: [UInt8]
  ) throws(SystemError) -> [UInt8]? {
    var bytes = Array(table.utf8.prefix(31))
    bytes += [UInt8](repeating: 0, count: 32 - bytes.count) + request
    bytes += [UInt8](repeating: 0, count: max(0, size - bytes.count))
    var length = socklen_t(clamping: bytes.count)
    let level = Int32(family == .ipv4 ? IPPROTO_IP : 41)
    let rc = unsafe bytes.withUnsafeMutableBytes { unsafe getsockopt(socket, level, option, $0.baseAddress, &length) }
    guard rc != 0 else { return bytes }
    switch Errno.current {
    case .wouldBlock, .noEntry, Errno(rawValue: ENOPROTOOPT): return nil
    default: throw SystemError("read table of iptables-legacy", table)
    }
  }

  // MARK: layout

  /// Where the parts of an entry are: `struct ipt_entry`, `struct ip6t_entry`.
  private struct Layout {
    let sourceMask, destination, destinationMask, transport, inversion, targetOffset, matches: Int
    static let ipv4 = Layout(
      sourceMask: 8, destination: 4, destinationMask: 12, transport: 80, inversion: 83, targetOffset: 88, matches: 112)
    static let ipv6 = Layout(
      sourceMask: 32, destination: 16, destinationMask: 48, transport: 128, inversion: 132, targetOffset: 140,
      matches: 168)
  }

  private var layout: Layout { family == .ipv4 ? .ipv4 : .ipv6 }

  /// - Parameters:
  ///   - info: `struct ipt_getinfo`.
  ///   - entries: all rules, one after the other.
  init(_ family: AddressFamily, info: [UInt8], entries: [UInt8]) {
    self.family = family
    self.entries = entries
    let hooks = info.word32(32)
    for (i, name) in ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"].enumerated() where hooks >> i & 1 == 1
    {
      names[Int(clamping: info.word32(36 + i * 4))] = name
    }
    var chain: String?
    var offset = 0
    while let (target, next) = entry(at: offset) {
      if let name = names[offset] {
        chain = name
        places[name] = []
      }
      if entries.text(target + 2, 29) == "ERROR" {
        names[next] = entries.text(target + 32, 30)
        chain = nil
      } else if let chain {
        places[chain]?.append(offset)
      }
      offset = next
    }
    for name in places.keys where places[name]?.isEmpty == false { places[name]?.removeLast() }
  }

  /// Where the target of an entry and the next entry begin; nil at the end, and where lengths make no sense.
  private func entry(at offset: Int) -> (target: Int, next: Int)? {
    guard offset + layout.matches <= entries.count else { return nil }
    let target = Int(entries.word16(offset + layout.targetOffset))
    let next = Int(entries.word16(offset + layout.targetOffset + 2))
    guard target >= layout.matches, next >= target + 32, offset + next <= entries.count else { return nil }
    return (offset + target, offset + next)
  }

  /// The rules of a chain; nil when there is no such chain.
  public func chain(_ name: String) -> [IptablesRule]? { places[name]?.compactMap(rule) }

  private func rule(at offset: Int) -> IptablesRule? {
    guard let (target, next) = entry(at: offset) else { return nil }
    var r = IptablesRule()
    r.transport = UInt8(truncatingIfNeeded: entries.word16(offset + layout.transport))
    r.source = prefix(offset, offset + layout.sourceMask)
    r.destination = prefix(offset + layout.destination, offset + layout.destinationMask)
    // Addresses, interfaces, protocol, flags (`IPT_F_GOTO` among them) and inversions.
    r.isPlain = entries[offset..<offset + layout.targetOffset - 4].allSatisfy { $0 == 0 }
    // IPT_INV_DSTIP
    r.isInverted = entries.word16(offset + layout.inversion) & 0x10 != 0
    var match = offset + layout.matches
    while match + 32 <= target {
      let size = Int(entries.word16(match))
      guard size >= 32, match + size <= target else { break }
      r.match(entries.text(match + 2, 29), entries[match + 32..<match + size])
      match += size
    }
    let name = entries.text(target + 2, 29)
    r.form = form(offset, target, next, isVerdict: name.isEmpty)
    if name.isEmpty {
      let verdict = Int32(bitPattern: entries.word32(target + 32))
      r.jump = verdict >= 0 ? names[Int(verdict)] ?? "" : verdict == -2 ? "ACCEPT" : verdict == -5 ? "RETURN" : "DROP"
    } else {
      r.target(name, revision: UInt32(entries.byte(target + 31)), entries[target + 32..<next], family)
    }
    return r
  }

  /// Addresses, flags and extensions. Left out are `nfcache`, the offsets, `comefrom`, counters and the place of a jump.
  private func form(_ offset: Int, _ target: Int, _ next: Int, isVerdict: Bool) -> [UInt8] {
    let end = isVerdict ? target + 32 : next
    return Array(entries[offset..<offset + layout.targetOffset - 4] + entries[offset + layout.matches..<end])
  }

  /// nil when all addresses match.
  private func prefix(_ address: Int, _ mask: Int) -> IPPrefix? {
    let count = family.byteCount
    guard mask + count <= entries.count, let a = IPAddress(bytes: entries[address..<address + count]) else {
      return nil
    }
    let length = entries[mask..<mask + count].reduce(0) { $0 + $1.nonzeroBitCount }
    return length == 0 ? nil : IPPrefix(a, length: length)
  }
}

/// Reading where the end is unknown: what is not there is zero.
extension [UInt8] {
  fileprivate func byte(_ i: Int) -> UInt8 { indices.contains(i) ? self[i] : 0 }
  fileprivate func word16(_ i: Int) -> UInt16 { UInt16(byte(i)) | UInt16(byte(i + 1)) << 8 }
  fileprivate func word32(_ i: Int) -> UInt32 { UInt32(word16(i)) | UInt32(word16(i + 2)) << 16 }
  /// Up to the first zero.
  fileprivate func text(_ i: Int, _ count: Int) -> String {
    String(
      decoding: self[Swift.min(i, self.count)..<Swift.min(i + count, self.count)].prefix { $0 != 0 }, as: UTF8.self)
  }
}
