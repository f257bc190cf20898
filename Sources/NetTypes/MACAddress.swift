/// A 48-bit link-layer address.
public struct MACAddress: Hashable, Sendable {
  /// The address in the low 48 bits, first octet most significant.
  public let value: UInt64

  /// Bits above 48 are dropped.
  public init(_ value: UInt64) { self.value = value & 0xffff_ffff_ffff }

  /// From exactly six bytes; nil otherwise.
  public init?(bytes: some Collection<UInt8>) {
    guard bytes.count == 6 else { return nil }
    self.init(bytes.reduce(0) { $0 << 8 | UInt64($1) })
  }

  /// Six bytes, in transmission order.
  public var bytes: [UInt8] { (0..<6).map { UInt8(truncatingIfNeeded: value >> UInt64(40 - 8 * $0)) } }

  /// True for the address of one station: neither a group address nor all zeros.
  public var isUnicast: Bool { value != 0 && value >> 40 & 1 == 0 }

  /// A random locally administered unicast address: first octet `(x & 0xfe) | 0x02` (contract flanneld §12.1).
  public static func random() -> MACAddress {
    var g = SystemRandomNumberGenerator()
    return random(using: &g)
  }

  /// A locally administered unicast address from the given source of randomness.
  public static func random(using generator: inout some RandomNumberGenerator) -> MACAddress {
    let v = UInt64.random(in: 0...0xffff_ffff_ffff, using: &generator)
    return MACAddress(v & ~(1 << 40) | (2 << 40))
  }
}

extension MACAddress: LosslessStringConvertible, CustomStringConvertible {
  /// Parses six two-digit hexadecimal octets separated by `:` (or `-`); nil for anything else.
  public init?(_ text: some StringProtocol) {
    let s = Array(text.utf8.prefix(18))
    guard s.count == 17 else { return nil }
    var v: UInt64 = 0
    for i in 0..<6 {
      guard let hi = hexDigitValue(s[3 * i]), let lo = hexDigitValue(s[3 * i + 1]),
        i == 5 || s[3 * i + 2] == UInt8(ascii: ":") || s[3 * i + 2] == UInt8(ascii: "-")
      else { return nil }
      v = v << 8 | UInt64(hi << 4 | lo)
    }
    self.init(v)
  }

  /// Lower case, separated by colons.
  public var description: String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
  }
}
