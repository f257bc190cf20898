/// A value for each address family, present or not. Dual stack is a loop over `AddressFamily.allCases`.
public struct PerFamily<Value> {
  /// The value for IPv4; nil = the family is not used.
  public var ipv4: Value?
  /// The value for IPv6; nil = the family is not used.
  public var ipv6: Value?

  /// A family that is left out has no value.
  public init(ipv4: Value? = nil, ipv6: Value? = nil) {
    self.ipv4 = ipv4
    self.ipv6 = ipv6
  }

  /// One value per family as computed by `body`.
  public init(_ body: (AddressFamily) throws -> Value?) rethrows {
    ipv4 = try body(.ipv4)
    ipv6 = try body(.ipv6)
  }

  /// The value of a family; setting nil removes it.
  public subscript(family: AddressFamily) -> Value? {
    get { family == .ipv4 ? ipv4 : ipv6 }
    set { if family == .ipv4 { ipv4 = newValue } else { ipv6 = newValue } }
  }

  /// The families that have a value, IPv4 first.
  public var families: [AddressFamily] { AddressFamily.allCases.filter { self[$0] != nil } }
  /// The values, IPv4 first.
  public var values: [Value] { [ipv4, ipv6].compactMap { $0 } }
  /// True when no family has a value.
  public var isEmpty: Bool { ipv4 == nil && ipv6 == nil }
}

extension PerFamily: Sendable where Value: Sendable {}
extension PerFamily: Equatable where Value: Equatable {}
extension PerFamily: Hashable where Value: Hashable {}
