import NetTypes

/// `RTA_*` (`linux/rtnetlink.h`).
enum RouteAttribute {
  static let destination: UInt16 = 1
  static let device: UInt16 = 4
  static let gateway: UInt16 = 5
  static let priority: UInt16 = 6
  static let preferredSource: UInt16 = 7
  static let metrics: UInt16 = 8
  static let multipath: UInt16 = 9
  static let table: UInt16 = 15
  static let via: UInt16 = 18
  static let nexthop: UInt16 = 30

  /// `RTAX_MTU`, inside `metrics`.
  static let mtu: UInt16 = 2
}

/// `RTNH_F_*` and `RTM_F_*`.
enum RouteFlag {
  static let dead: UInt32 = 1
  static let onlink: UInt32 = 4
  static let linkDown: UInt32 = 16
  /// A cache entry, not a route of the table.
  static let cloned: UInt32 = 0x200
  /// Tell the real table in the answer to a look-up.
  static let lookupTable: UInt32 = 0x1000
}

extension Route.Kind {
  /// `RTN_*`
  var number: UInt8 {
    switch self {
    case .unicast: 1
    case .local: 2
    case .broadcast: 3
    case .anycast: 4
    case .multicast: 5
    case .blackhole: 6
    case .unreachable: 7
    case .prohibit: 8
    case .throwing: 9
    case .other(let n): n
    }
  }

  init(number: UInt8) {
    switch number {
    case 1: self = .unicast
    case 2: self = .local
    case 3: self = .broadcast
    case 4: self = .anycast
    case 5: self = .multicast
    case 6: self = .blackhole
    case 7: self = .unreachable
    case 8: self = .prohibit
    case 9: self = .throwing
    default: self = .other(number)
    }
  }
}
