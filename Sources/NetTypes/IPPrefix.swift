/// An address together with a prefix length. Host bits are kept: `10.244.3.1/24` is an interface address,
/// `network` is the prefix it lies in.
public struct IPPrefix: Hashable, Sendable, Comparable {
  /// The address, host bits included.
  public let address: IPAddress
  private let bits: UInt8
  /// The prefix length in bits, 0…32 or 0…128.
  public var length: Int { Int(bits) }

  /// nil when the length does not fit the family.
  public init?(_ address: IPAddress, length: Int) {
    guard (0...address.family.bitWidth).contains(length) else { return nil }
    self.address = address
    self.bits = UInt8(length)
  }

  /// For lengths known to be valid; clamped into the family's range.
  public init(base: IPAddress, length: Int) {
    self.address = base
    self.bits = UInt8(min(max(length, 0), base.family.bitWidth))
  }

  /// A single address: /32 or /128.
  public init(host: IPAddress) { self.init(base: host, length: host.family.bitWidth) }

  /// The family of the address.
  public var family: AddressFamily { address.family }

  /// The netmask as a number in the family's width.
  public var mask: UInt128 {
    let width = family.bitWidth
    let all: UInt128 = family == .ipv4 ? 0xffff_ffff : .max
    return length == 0 ? 0 : all & (all << UInt128(width - length))
  }

  /// The lowest address of the prefix (host bits zero).
  public var base: IPAddress { IPAddress(family, address.value & mask) }
  /// The highest address of the prefix (the IPv4 broadcast address).
  public var last: IPAddress { IPAddress(family, address.value | ~mask) }
  /// The prefix without host bits.
  public var network: IPPrefix { IPPrefix(base: base, length: length) }
  /// True when no host bit is set.
  public var isNetwork: Bool { address == base }

  /// True when the address lies in the prefix.
  public func contains(_ a: IPAddress) -> Bool { a.family == family && a.value & mask == address.value & mask }
  /// True when the whole of `other` lies in the prefix.
  public func contains(_ other: IPPrefix) -> Bool { other.length >= length && contains(other.address) }
  /// True when the two prefixes share an address.
  public func overlaps(_ other: IPPrefix) -> Bool {
    length <= other.length ? contains(other.address) : other.contains(address)
  }
  /// The prefix of the same length that follows; nil at the end of the address space.
  public func next() -> IPPrefix? {
    guard length > 0 else { return nil }
    let step = UInt128(1) << UInt128(family.bitWidth - length)
    let (v, overflow) = base.value.addingReportingOverflow(step)
    guard !overflow, family == .ipv6 || v <= 0xffff_ffff else { return nil }
    return IPPrefix(base: IPAddress(family, v), length: length)
  }

  /// By address, then the shorter length (the larger network) first.
  public static func < (a: Self, b: Self) -> Bool { (a.address, a.length) < (b.address, b.length) }
}

extension IPPrefix: LosslessStringConvertible, CustomStringConvertible {
  /// Parses `address/length`; nil for anything else.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let a = IPAddress(parts[0]), (1...3).contains(parts[1].utf8.count),
      parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let n = Int(parts[1])
    else { return nil }
    self.init(a, length: n)
  }

  /// `address/length`, host bits included.
  public var description: String { "\(address)/\(length)" }
}
