import Syscalls

extension NftSocket {
  /// The number of the rule set as it is now; every committed transaction makes it another one.
  public mutating func generation() throws(NetlinkError) -> UInt32 {
    try query("read the rule set's generation", "", NftMessage.getGeneration, flags: 0, family: 0) { message in
      var attributes = message.attributes(after: Netfilter.headerSize)
      while let a = attributes.next() { if a.type == 1 { return a.bigUInt32 } }
      return nil
    }.first ?? 0
  }

  /// All tables, or those of a family.
  public mutating func tables(_ family: NftFamily? = nil) throws(NetlinkError) -> [NftTable] {
    try query("list tables", "", NftMessage.getTable, family: family?.rawValue ?? 0) { NftTable($0) }
  }

  /// One table; nil when there is none.
  public mutating func table(_ id: NftTable.ID) throws(NetlinkError) -> NftTable? {
    try one("look up table", "\(id)", NftMessage.getTable, id.family) {
      $0.attribute(TableAttribute.name, id.name)
    } decode: {
      NftTable($0)
    }
  }

  /// The chains of a table, or of all tables of its family when it is nil.
  public mutating func chains(_ table: NftTable.ID) throws(NetlinkError) -> [NftChain] {
    try query("list chains of", "\(table)", NftMessage.getChain, family: table.family.rawValue) {
      let chain = NftChain($0)
      return chain?.table == table ? chain : nil
    }
  }

  /// One chain; nil when there is none, or no such table.
  public mutating func chain(_ table: NftTable.ID, _ name: String) throws(NetlinkError) -> NftChain? {
    try one("look up chain", "\(table) \(name)", NftMessage.getChain, table.family) {
      $0.attribute(ChainAttribute.table, table.name)
      $0.attribute(ChainAttribute.name, name)
    } decode: {
      NftChain($0)
    }
  }

  /// The rules of a table, or of one of its chains, in their order. None when there is no such table or chain.
  public mutating func rules(_ table: NftTable.ID, chain: String? = nil) throws(NetlinkError) -> [NftRule] {
    // Old kernels do not know the restriction and send all rules of the family.
    let found = try collectRules("\(table)\(chain.map { " " + $0 } ?? "")", family: table.family.rawValue) {
      $0.attribute(RuleAttribute.table, table.name)
      if let chain { $0.attribute(RuleAttribute.chain, chain) }
    }
    return found.filter { $0.table == table && (chain == nil || $0.chain == chain) }
  }

  /// All rules of all tables.
  public mutating func allRules() throws(NetlinkError) -> [NftRule] { try collectRules("", family: 0) { _ in } }

  private mutating func collectRules(
    _ object: String, family: UInt8, _ body: (inout MessageWriter) -> Void
  ) throws(NetlinkError) -> [NftRule] {
    do {
      return try query("list rules of", object, NftMessage.getRule, family: family, body) { NftRule($0) }
    } catch  where error.errno == .noEntry {
      return []
    }
  }

  /// The sets and maps of a table, also the anonymous ones of its rules. None when there is no such table.
  public mutating func sets(_ table: NftTable.ID) throws(NetlinkError) -> [NftSet] {
    do {
      return try query("list sets of", "\(table)", NftMessage.getSet, family: table.family.rawValue) {
        $0.attribute(SetAttribute.table, table.name)
      } decode: {
        let set = NftSet($0)
        return set?.table == table ? set : nil
      }
    } catch  where error.errno == .noEntry {
      return []
    }
  }

  /// The elements of a set or map; none when there is no such set.
  ///
  /// The kernel continues a long listing by position. While it still spreads a table that grew over more buckets, a listing
  /// repeats some elements and leaves out as many others, without saying so: one that repeats is asked for again.
  public mutating func elements(of set: String, _ table: NftTable.ID) throws(NetlinkError) -> [NftElement] {
    for _ in 0..<NetlinkSocket.attempts {
      let found = try listElements(of: set, table)
      if Set(found.map(\.identity)).count == found.count { return found }
      Clock.sleep(nanoseconds: 5_000_000)
    }
    throw NetlinkError(
      operation: "list elements of", object: "\(table) \(set), which keep changing", errno: .wouldBlock)
  }

  private mutating func listElements(of set: String, _ table: NftTable.ID) throws(NetlinkError) -> [NftElement] {
    do {
      return try query("list elements of", "\(table) \(set)", NftMessage.getElement, family: table.family.rawValue) {
        $0.attribute(ElementAttribute.table, table.name)
        $0.attribute(ElementAttribute.set, set)
      } decode: {
        NftElement.list($0)
      }.flatMap { $0 }
    } catch  where error.errno == .noEntry {
      return []
    }
  }

  private mutating func query<T>(
    _ operation: StaticString, _ object: @autoclosure () -> String, _ type: UInt16,
    flags: UInt16 = MessageFlags.dump, family: UInt8, _ body: (inout MessageWriter) -> Void = { _ in },
    decode: (borrowing Message) -> T?
  ) throws(NetlinkError) -> [T] {
    do {
      return try socket.collect(
        operation, on: object(), NftMessage.type(type), flags: flags,
        request: {
          $0.header(Netfilter.header(family: family))
          body(&$0)
        }, decode: decode)
    } catch {
      throw error.withCapabilityHint
    }
  }

  private mutating func one<T>(
    _ operation: StaticString, _ object: @autoclosure () -> String, _ type: UInt16, _ family: NftFamily,
    _ body: (inout MessageWriter) -> Void, decode: (borrowing Message) -> T?
  ) throws(NetlinkError) -> T? {
    do {
      return try query(operation, object(), type, flags: 0, family: family.rawValue, body, decode: decode).first
    } catch  where error.errno == .noEntry {
      return nil
    }
  }
}
