import CLinux
import Syscalls

/// A transaction of nf_tables, recorded and encoded: the kernel carries out all of it or nothing. Nothing happens
/// before it is sent on an `NftSocket`.
///
/// Objects may be used in the same batch after they were added. Adding what exists is no error; deleting what does not
/// exist is one.
public struct NftBatch: ~Copyable, Sendable {
  /// The encoded messages; the one at index n has sequence number n + 1. The first opens the transaction.
  var writer = MessageWriter(capacity: 4096)
  private var sets: UInt32 = 0

  /// An empty transaction.
  /// - Parameter generation: the rule set the transaction was worked out from; if another program has changed anything
  ///   since, the kernel refuses it as a whole (`NetlinkError.isOutdated`). nil = whatever is there.
  public init(generation: UInt32? = nil) {
    writer.message(Netfilter.batchBegin, 0, sequence: 1) {
      $0.header(Netfilter.header(family: 0, resource: Netfilter.nftables))
      if let generation { $0.big(1, generation) }
    }
  }

  /// Number of changes.
  public var count: Int { writer.count - 1 }
  /// True when there is nothing to do.
  public var isEmpty: Bool { count == 0 }

  private mutating func add(
    _ type: UInt16, _ flags: UInt16, _ family: NftFamily, _ body: (inout MessageWriter) -> Void
  ) {
    writer.message(NftMessage.type(type), flags, sequence: UInt32(truncatingIfNeeded: writer.count &+ 1)) {
      $0.header(Netfilter.header(family: family.rawValue))
      body(&$0)
    }
  }

  // MARK: tables and chains

  /// Makes a table, or leaves the one that is there.
  public mutating func add(_ table: NftTable) {
    add(NftMessage.newTable, MessageFlags.create, table.id.family) { table.encode(into: &$0) }
  }

  /// Removes a table with everything in it.
  public mutating func delete(_ table: NftTable.ID) {
    add(NftMessage.deleteTable, 0, table.family) { $0.attribute(TableAttribute.name, table.name) }
  }

  /// Makes a chain, or sets the policy of the one that is there.
  public mutating func add(_ chain: NftChain) {
    add(NftMessage.newChain, MessageFlags.create, chain.table.family) { chain.encode(into: &$0) }
  }

  /// Removes a chain, which must have no rule and no jump to it.
  public mutating func deleteChain(_ table: NftTable.ID, _ name: String) {
    add(NftMessage.deleteChain, 0, table.family) {
      $0.attribute(ChainAttribute.table, table.name)
      $0.attribute(ChainAttribute.name, name)
    }
  }

  // MARK: rules

  /// Adds a rule at the end of its chain.
  public mutating func append(_ rule: NftRule) {
    add(NftMessage.newRule, MessageFlags.create | MessageFlags.append, rule.table.family) { rule.encode(into: &$0) }
  }

  /// Adds a rule at the start of its chain.
  public mutating func prepend(_ rule: NftRule) {
    add(NftMessage.newRule, MessageFlags.create, rule.table.family) { rule.encode(into: &$0) }
  }

  /// Adds a rule before the one with a handle.
  public mutating func insert(_ rule: NftRule, before handle: UInt64) {
    add(NftMessage.newRule, MessageFlags.create, rule.table.family) {
      rule.encode(into: &$0)
      $0.big(RuleAttribute.position, handle)
    }
  }

  /// Puts a rule in the place of the one with its handle.
  public mutating func replace(_ rule: NftRule) {
    add(NftMessage.newRule, MessageFlags.replace, rule.table.family) {
      rule.encode(into: &$0)
      $0.big(RuleAttribute.handle, rule.handle)
    }
  }

  /// Removes the rule with a handle.
  public mutating func deleteRule(_ table: NftTable.ID, _ chain: String, handle: UInt64) {
    add(NftMessage.deleteRule, 0, table.family) {
      $0.attribute(RuleAttribute.table, table.name)
      $0.attribute(RuleAttribute.chain, chain)
      $0.big(RuleAttribute.handle, handle)
    }
  }

  /// Removes all rules of a chain.
  public mutating func flush(_ table: NftTable.ID, _ chain: String) {
    add(NftMessage.deleteRule, 0, table.family) {
      $0.attribute(RuleAttribute.table, table.name)
      $0.attribute(RuleAttribute.chain, chain)
    }
  }

  // MARK: sets

  /// Makes a set or map, or leaves the one that is there.
  public mutating func add(_ set: NftSet) {
    sets &+= 1
    let id = sets
    add(NftMessage.newSet, MessageFlags.create, set.table.family) { set.encode(into: &$0, id: id) }
  }

  /// Removes a set that no rule uses.
  public mutating func deleteSet(_ table: NftTable.ID, _ name: String) {
    add(NftMessage.deleteSet, 0, table.family) {
      $0.attribute(SetAttribute.table, table.name)
      $0.attribute(SetAttribute.name, name)
    }
  }

  /// Adds elements; one that is there with another value makes the transaction fail.
  public mutating func add(_ elements: [NftElement], to set: String, of table: NftTable.ID) {
    change(elements, NftMessage.newElement, MessageFlags.create, set, table)
  }

  /// Removes elements by their keys.
  public mutating func delete(_ elements: [NftElement], from set: String, of table: NftTable.ID) {
    change(elements, NftMessage.deleteElement, 0, set, table)
  }

  /// Removes all elements.
  public mutating func flushSet(_ table: NftTable.ID, _ name: String) {
    add(NftMessage.deleteElement, 0, table.family) {
      $0.attribute(ElementAttribute.table, table.name)
      $0.attribute(ElementAttribute.set, name)
    }
  }

  /// An attribute cannot hold more than 64 KiB, so long lists go out in several messages.
  private mutating func change(
    _ elements: [NftElement], _ type: UInt16, _ flags: UInt16, _ set: String, _ table: NftTable.ID
  ) {
    var rest = elements[...]
    while !rest.isEmpty {
      var size = 0
      let part = rest.prefix {
        size += $0.encodedSize
        return size < 48 << 10
      }
      let now = part.isEmpty ? rest.prefix(1) : part
      rest = rest.dropFirst(now.count)
      add(type, flags, table.family) {
        $0.attribute(ElementAttribute.table, table.name)
        $0.attribute(ElementAttribute.set, set)
        $0.nest(ElementAttribute.elements) { for e in now { e.encode(into: &$0) } }
      }
    }
  }
}
