import NetTypes

/// The name of a lease in a registry (contract flanneld §7.1):
/// `10.12.13.0-24`, dual stack `10.12.13.0-24&fd00:12:13::-56`.
///
/// The Go daemon has no form for a node with IPv6 alone; ours is the second half by itself: `fd00:12:13::-56`.
public struct LeaseKey: Hashable, Sendable, Comparable {
  /// The subnets named; at least one.
  public let subnets: PerFamily<IPPrefix>

  init(_ subnets: PerFamily<IPPrefix>) { self.subnets = subnets }

  /// By subnet as numbers, IPv4 first; keys without IPv4 come first.
  public static func < (a: Self, b: Self) -> Bool {
    if a.subnets.ipv4 != b.subnets.ipv4 { return precedes(a.subnets.ipv4, b.subnets.ipv4) }
    return precedes(a.subnets.ipv6, b.subnets.ipv6)
  }

  private static func precedes(_ a: IPPrefix?, _ b: IPPrefix?) -> Bool {
    guard let b else { return false }
    guard let a else { return true }
    return a < b
  }
}

extension LeaseKey: LosslessStringConvertible, CustomStringConvertible {
  /// Parses a whole key. Lengths are 0…31 for IPv4 and 0…127 for IPv6. Host bits and unusual spellings of an IPv6
  /// address are kept or accepted: compare `description` with the text to find them.
  public init?(_ text: String) {
    var plain = PlainText(text.utf8.span)
    if let subnet = plain.ipv4Key() {
      self.init(PerFamily(ipv4: subnet))
      return
    }
    let parts = text.utf8.split(separator: UInt8(ascii: "&"), maxSplits: 2, omittingEmptySubsequences: false)
    guard let first = parts.first, parts.count <= 2, let head = Self.subnet(first) else { return nil }
    if parts.count == 1 {
      self.init(head.family == .ipv4 ? PerFamily(ipv4: head) : PerFamily(ipv6: head))
    } else {
      guard head.family == .ipv4, let tail = Self.subnet(parts[1]), tail.family == .ipv6 else { return nil }
      self.init(PerFamily(ipv4: head, ipv6: tail))
    }
  }

  private static func subnet(_ text: Substring.UTF8View) -> IPPrefix? {
    guard let dash = text.lastIndex(of: UInt8(ascii: "-")) else { return nil }
    let digits = text[text.index(after: dash)...]
    guard (1...3).contains(digits.count), !text.contains(where: { (0x41...0x5a).contains($0) }),
      let address = IPAddress(Substring(text[..<dash]))
    else { return nil }
    var length = 0
    for c in digits {
      guard (0x30...0x39).contains(c) else { return nil }
      length = length * 10 + Int(c - 0x30)
    }
    guard length < address.family.bitWidth else { return nil }
    return IPPrefix(address, length: length)
  }

  /// The key as text; one with host bits shows them.
  public var description: String {
    let parts = subnets.families.compactMap { f in subnets[f].map { "\($0.address)-\($0.length)" } }
    return parts.joined(separator: "&")
  }

  /// True when this is how every agent spells the key.
  func isSpelled(_ text: String) -> Bool {
    var plain = PlainText(text.utf8.span)
    return plain.ipv4Key() != nil || canonical.description == text
  }

  /// The same subnets with host bits cleared, which is how every agent spells them.
  public var canonical: LeaseKey {
    LeaseKey(PerFamily(ipv4: subnets.ipv4?.network, ipv6: subnets.ipv6?.network))
  }
}
