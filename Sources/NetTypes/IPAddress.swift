/// An address family. Dual stack is a loop over `allCases`.
public enum AddressFamily: UInt8, Hashable, Sendable, CaseIterable, Comparable {
  case ipv4 = 4
  case ipv6 = 6

  /// Address length in bits: 32 or 128.
  public var bitWidth: Int { self == .ipv4 ? 32 : 128 }
  /// Address length in bytes: 4 or 16.
  public var byteCount: Int { bitWidth / 8 }
  /// `AF_INET` or `AF_INET6`.
  public var number: UInt8 { self == .ipv4 ? 2 : 10 }
  /// The multicast block: `224.0.0.0/4` or `ff00::/8`.
  public var multicast: IPPrefix {
    self == .ipv4
      ? IPPrefix(base: IPAddress(.ipv4, 0xe000_0000), length: 4)
      : IPPrefix(base: IPAddress(.ipv6, 0xff << 120), length: 8)
  }
  /// The default route's destination: `0.0.0.0/0` or `::/0`.
  public var any: IPPrefix { IPPrefix(base: IPAddress(self, 0), length: 0) }

  /// IPv4 comes first.
  public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// An IPv4 or IPv6 address. An IPv4 address occupies the low 32 bits of `value`.
public struct IPAddress: Hashable, Sendable, Comparable {
  // Two words instead of one UInt128: 17 bytes aligned to 8, and an optional address costs nothing more. A node with
  // thousands of peers holds tens of thousands of these.
  private let high: UInt64
  private let low: UInt64
  /// The family, which decides how `value` is read.
  public let family: AddressFamily

  /// The address as a number, most significant bit first.
  public var value: UInt128 { UInt128(high) << 64 | UInt128(low) }

  /// Bits above the family's width are dropped.
  public init(_ family: AddressFamily, _ value: UInt128) {
    self.family = family
    self.high = family == .ipv4 ? 0 : UInt64(truncatingIfNeeded: value >> 64)
    self.low = UInt64(truncatingIfNeeded: value) & (family == .ipv4 ? 0xffff_ffff : .max)
  }

  /// From the two halves of an IPv6 address, or the IPv4 address in `low`.
  @inlinable
  public init(_ family: AddressFamily, high: UInt64, low: UInt64) {
    self.init(family, UInt128(high) << 64 | UInt128(low))
  }

  /// From 4 or 16 bytes in network order; nil for any other count.
  public init?(bytes: some Collection<UInt8>) {
    var v: UInt128 = 0
    for b in bytes.prefix(17) { v = v << 8 | UInt128(b) }
    switch bytes.count {
    case 4: self.init(.ipv4, v)
    case 16: self.init(.ipv6, v)
    default: return nil
    }
  }

  /// 4 or 16 bytes in network order.
  public var bytes: [UInt8] {
    (0..<family.byteCount).map { UInt8(truncatingIfNeeded: value >> UInt128(8 * (family.byteCount - 1 - $0))) }
  }

  /// By number; IPv4 comes first.
  public static func < (a: Self, b: Self) -> Bool { (a.family, a.value) < (b.family, b.value) }

  /// The address `distance` further; nil when it would leave the family's range.
  public func advanced(by distance: Int) -> IPAddress? {
    let d = UInt128(distance.magnitude)
    let (v, overflow) = distance < 0 ? value.subtractingReportingOverflow(d) : value.addingReportingOverflow(d)
    guard !overflow, family == .ipv6 || v <= 0xffff_ffff else { return nil }
    return IPAddress(family, v)
  }

  /// Link-local unicast: 169.254.0.0/16, fe80::/10.
  public var isLinkLocalUnicast: Bool {
    family == .ipv4 ? value >> 16 == 0xa9fe : value >> 118 == 0x3fa
  }
  /// Loopback: 127.0.0.0/8, ::1.
  public var isLoopback: Bool { family == .ipv4 ? value >> 24 == 127 : value == 1 }
  /// All bits zero.
  public var isUnspecified: Bool { value == 0 }
  /// 224.0.0.0/4, ff00::/8.
  public var isMulticast: Bool { family.multicast.contains(self) }
  /// Unicast that is neither unspecified, loopback, multicast, broadcast nor link-local; private ranges count.
  public var isGlobalUnicast: Bool {
    !isUnspecified && !isLoopback && !isMulticast && !isLinkLocalUnicast
      && !(family == .ipv4 && value == 0xffff_ffff)
  }
  /// RFC 1918 and RFC 4193 addresses.
  public var isPrivate: Bool {
    family == .ipv4
      ? value >> 24 == 10 || value >> 20 == 0xac1 || value >> 16 == 0xc0a8
      : value >> 121 == 0x7e
  }
}

extension IPAddress: LosslessStringConvertible, CustomStringConvertible {
  /// Parses dotted decimal (no leading zeros) or RFC 4291 text, without zone; nil for anything else.
  public init?(_ text: some StringProtocol) {
    let s = Array(text.utf8.prefix(64))
    if s.contains(UInt8(ascii: ":")) {
      guard let v = Self.parseIPv6(s) else { return nil }
      self.init(.ipv6, v)
    } else {
      guard let v = Self.parseIPv4(s[...]) else { return nil }
      self.init(.ipv4, v)
    }
  }

  private static func parseIPv4(_ s: ArraySlice<UInt8>) -> UInt128? {
    var parts = 0
    var v: UInt128 = 0
    for part in s.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
      guard (1...3).contains(part.count), let first = part.first, part.count == 1 || first != UInt8(ascii: "0") else {
        return nil
      }
      var octet = 0
      for c in part {
        guard (0x30...0x39).contains(c) else { return nil }
        octet = octet * 10 + Int(c - 0x30)
      }
      guard octet < 256 else { return nil }
      v = v << 8 | UInt128(octet)
      parts += 1
    }
    return parts == 4 ? v : nil
  }

  private static func parseIPv6(_ s: [UInt8]) -> UInt128? {
    let colon = UInt8(ascii: ":")
    var groups: [UInt16] = []
    var gap: Int?
    var i = 0
    if s.starts(with: [colon, colon]) {
      gap = 0
      i = 2
    } else if s.first == colon {
      return nil
    }
    while i < s.count {
      let end = s[i...].firstIndex(of: colon) ?? s.count
      let part = s[i..<end]
      if part.contains(UInt8(ascii: ".")) {
        guard end == s.count, let v4 = parseIPv4(part) else { return nil }
        groups += [UInt16(truncatingIfNeeded: v4 >> 16), UInt16(truncatingIfNeeded: v4)]
        i = end
        break
      }
      guard (1...4).contains(part.count) else { return nil }
      var g: UInt16 = 0
      for c in part {
        guard let digit = hexDigitValue(c) else { return nil }
        g = g << 4 | UInt16(digit)
      }
      groups.append(g)
      i = end
      guard i < s.count else { break }
      i += 1  // the colon
      if i < s.count, s[i] == colon {
        guard gap == nil else { return nil }
        gap = groups.count
        i += 1
      } else if i == s.count {
        return nil  // a single trailing colon
      }
    }
    if let gap {
      guard groups.count < 8 else { return nil }
      groups.insert(contentsOf: repeatElement(0, count: 8 - groups.count), at: gap)
    }
    guard groups.count == 8 else { return nil }
    return groups.reduce(0) { $0 << 16 | UInt128($1) }
  }

  /// Canonical text (RFC 5952 for IPv6; IPv4-mapped addresses as `::ffff:a.b.c.d`).
  public var description: String {
    if family == .ipv4 { return Self.dotted(UInt32(truncatingIfNeeded: value)) }
    if value >> 32 == 0xffff { return "::ffff:" + Self.dotted(UInt32(truncatingIfNeeded: value)) }
    let groups = (0..<8).map { UInt16(truncatingIfNeeded: value >> UInt128(112 - 16 * $0)) }
    var best = 0..<0
    var i = 0
    while i < 8 {
      var j = i
      while j < 8, groups[j] == 0 { j += 1 }
      if j - i >= 2, j - i > best.count { best = i..<j }
      i = max(j, i + 1)
    }
    func text(_ r: Range<Int>) -> String { groups[r].map { String($0, radix: 16) }.joined(separator: ":") }
    return best.isEmpty ? text(0..<8) : text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
  }

  private static func dotted(_ v: UInt32) -> String {
    "\(v >> 24).\(v >> 16 & 255).\(v >> 8 & 255).\(v & 255)"
  }
}

/// The value of an ASCII hexadecimal digit, or nil.
@inlinable
public func hexDigitValue(_ c: UInt8) -> UInt8? {
  switch c {
  case 0x30...0x39: c &- 0x30
  case 0x41...0x46: c &- 0x37
  case 0x61...0x66: c &- 0x57
  default: nil
  }
}
