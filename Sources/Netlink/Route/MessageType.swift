/// `RTM_*` (`linux/rtnetlink.h`).
enum RouteMessage {
  static let newLink: UInt16 = 16
  static let deleteLink: UInt16 = 17
  static let getLink: UInt16 = 18
  static let setLink: UInt16 = 19
  static let newAddress: UInt16 = 20
  static let deleteAddress: UInt16 = 21
  static let getAddress: UInt16 = 22
  static let newRoute: UInt16 = 24
  static let deleteRoute: UInt16 = 25
  static let getRoute: UInt16 = 26
  static let newNeighbour: UInt16 = 28
  static let deleteNeighbour: UInt16 = 29
  static let getNeighbour: UInt16 = 30
  static let newNamespaceID: UInt16 = 88
  static let getNamespaceID: UInt16 = 90
  static let newNexthop: UInt16 = 104
  static let deleteNexthop: UInt16 = 105
  static let getNexthop: UInt16 = 106
}

/// `AF_*` numbers that select a variant of a message.
enum FamilyNumber {
  static let any: UInt8 = 0
  static let ipv4: UInt8 = 2
  static let bridge: UInt8 = 7
  static let ipv6: UInt8 = 10
}
