// Package casework is the one door to individuals: the decision, its approval, the lookup, its result and its end.
//
// # What it promises
//
//   - No decision, no person. Rows of a person come out only under a [Decision] that three people approved, and only for the
//     subject, days, sources and categories that stand in it. The scope comes from the decision, never from who asks: a
//     lookup has no other parameter than the case number, and what is given to a person or to the desk of public records goes
//     where the decision says, past whoever runs it: [Gate.Lookup] refuses those kinds.
//   - Who requests and who looks is somebody whom three roles have seen: requester and investigators are members or holders in
//     the tenant's register, with exactly the key in the decision, when it is requested, in the register that each approver signs
//     by, and, of the requester and whoever looks, at each lookup and each export. Who is removed from the register sees nothing
//     from that moment.
//   - Approving is opening. An approver's client opens that role's shares of the data keys in scope, and of no others, and
//     seals them to the gate, bound to the digest of this decision (package seal). A decision that was edited in one byte is
//     another decision: signatures and shares are of no use for it. The service never holds a role's key.
//   - Three approvers are three people: different by id, by signing key and by age recipient; none of them requester,
//     investigator or subject; each a holder of the role in the register that stood when they signed, and still one whenever
//     the approval is used.
//   - State is computed, never stored: from the documents, the record (package audit), the register and the clock. The
//     clock that counts is the later of the machine's and the record's latest entry: turning it back revives nothing. Only the
//     signed word of a holder of the role security ([ClockAcceptance]), on record and once, corrects it, after entries of a wrong time.
//   - All of this can be checked afterwards without the gate: [CheckRule] judges every lookup of a record by its entries alone.
//   - What ends a decision counts at once, even if only half of it was written: a revocation counts when it is in the case store
//     or in the record; an approval and the notice to the union count only when they are in both. It is looked at again between
//     the rows of a lookup that runs.
//   - What a decision or a request holds, opens or has exported is let go only by an act that opens (signature, digest, case, the
//     signer's right) and is on record. An act in the store that does not open stops lookups, is reported, and ends nothing.
//   - A number is one thing: a decision, or a request for public records. A hold ends by its own document, never by its number.
//   - A clean result ([Result.Whole]) means that nothing in scope was hidden: keys that are gone, damaged, late or another population's,
//     capsules that did not open, and days that were purged unheld are counted in it and on record.
//   - Each lookup: authorise, append lookup.intent to the record and see it in a checkpoint, open the keys, read, append
//     lookup.result. No record, no read. Intents are counted under a lock that all processes share: the number of lookups in
//     the decision is never exceeded. An intent without a result becomes lookup.unknown.
//   - Who is not entitled gets one answer, [ErrRefused], whether the case does not exist, is not theirs, or is not active.
//     Why stands in the record, as a number.
//   - Of a mail everybody else is redacted, and the machine of another sender. Protected destinations are withheld: of a mail with
//     one, every line that is known to be about it.
//   - Nothing here prints, logs or quotes a subject, but the documents and results themselves.
//
// # The documents
//
// All are canonical JSON in a signed note (package seal), refused if one byte is not what it must be. Ids, numbers and names
// are of a small alphabet without look-alikes.
//
//	tillsyn decision v1              the decision; signed by the requester, whose key stands in it
//	tillsyn decision approval v1     a holder of a role: digest of the decision, role, register, digest of the handover
//	tillsyn decision denial v1       a holder of a role: reason
//	tillsyn decision revocation v1   requester, investigator or a holder of a role: reason
//	tillsyn decision notice v1       requester or a holder of a role: the union was told: who, and when
//	tillsyn decision closing v1      the result; without one a case does not close
//	tillsyn lookup v1                an investigator asks for one lookup; good for some minutes and once
//	tillsyn clock acceptance v1      a holder of the role security: the clock is right; tenant, register, time before and now, reason
//
// A decision holds 32 random bytes, so that its digest says nothing about the person in it. The record holds that digest
// with every entry; of an approval, and of the notice to the union, the whole signed text, which names no watched person, so that
// anybody can check the signatures against the register of holders, which stands there too; of the others the digest. A notice that
// names the person by a name of the decision is refused.
//
// # The kinds of decision
//
// One table ([Kinds]) says what each kind needs: person, identify (who in a unit stands behind a finding: names above a threshold
// and nothing else; events that were permitted before they happened, or told of, do not count), subject_access (GDPR article 15),
// police, public_record. All need all three roles: the data key does. Each kind has one [Reader]: person, identify and police
// show rows to the investigator; the extract of subject_access is encrypted to the recipient in the decision, and rows of
// public_record go to the registrar's desk.
//
// Union notice is needed for person and identify of staff (casework.union may ask for more): a decision that names a union is
// suspended without a notice within 24 hours. Elected officials and pupils have none to name; there the decision may say who is
// told instead: the presidium, the guardian.
//
// A person's own extract has the rows of protected destinations too, which are the person's data, unless the decision names the ground
// on which they are withheld. Other kinds have them only if the decision says why.
//
// # State
//
//	draft -> pending -> active <-> suspended -> expired
//	            |          \___________\_______-> revoked
//	            \-> denied, expired                           any but draft -> closed (with its result)
//
// The order of judgement: closed, denied, revoked, draft, pending or expired (approvals not there by approve_by), pending (before
// not_before), expired (from execute_by), suspended, active.
//
// # The case store
//
// A directory, mode 0700, of one directory for each case, named by a hash, holding the decision, its acts and handovers, each
// a file encrypted (age) to the gate's recipient, mode 0600, written aside, synced and linked, never changed. What was handed over is a
// file of its own, and is removed when the decision has ended: acts stay. One lock file
// orders all processes. Whoever has the directory but not the gate's identity learns how many cases and acts there are, and when.
//
// # Holding
//
//	Gate.SettleHolds, before each purge: active, suspended -> hold;  closed, revoked, denied -> none
//
// A decision holds from when three people have approved it. While it waits it holds nothing: what is copied for a hold would tell,
// before anybody approved, whether somebody has rows, and how many. Days that are purged meanwhile are counted at the lookup, and said.
// A hold ends with its case.
//
// A request for public records ([RecordsDesk]) holds from the moment that a registrar, whom the register knows by that key, wrote it
// down, and until it is closed, by signed act and on record. One that names no person, but a unit or everybody, holds for seven days
// ([ConfirmIn]) by one signature, and longer only by a second one, of a holder of manager or security. A registrar may lose a key:
// every holder of a role but the one it is about can decide, close and release. Requests that are old and open are listed as overdue.
//
// Rows that are previewed for the secrecy test are encrypted to whoever previewed them, not to the gate. They go when the decision that
// they were looked up under has ended or expired; once the request is decided on, when it is closed: the answer is made from them.
// A decision on public records that comes after the purge of its days finds what the requests have held.
//
// # The steps of approving
//
//  1. The gate makes a [Bundle] for one role: decision, proof that the record holds it, the wrapped keys in scope with the share of
//     that role, the register. It is encrypted to the holders of the role and padded: whoever carries it learns nothing from it.
//  2. The approver's client ([Approver]) checks the record's checkpoint against the last one it saw itself, that the request is in
//     it, the chain of registers, its own role, and the decision; shows all that the decision says; on yes opens the shares in
//     scope for the subject that it showed, and signs. It never asks the database anything.
//  3. The gate accepts the [Approval]: all checks again, file, then record. Repeating it changes nothing.
//
// # Threats and answers
//
//   - One who edits a decision after signing, replays an approval on another, or adds fields: the digest and the byte-exact form.
//   - One person with two accounts: ids, keys and recipients are compared; the register refuses the same person twice as well.
//   - A requester who names a trusted investigator with a key of his own, or signs under an id that nobody knows: an id is the name of
//     its key, and both must be those of the register. Gate and approver's client look, each for themselves; the screen and the
//     document show the fingerprint beside each id.
//   - A request for a person's own extract as a look at that person: the rows go to the recipient that three people approved, who can't
//     be a holder or member other than the subject.
//   - The service hands an approver other people's shares under an approved name: HPKE binds the subject that was shown.
//   - The service shows a register of its own: the chain needs the signatures of the old register's holders, and the client
//     remembers the last one that it saw.
//   - An administrator deletes an act from the store: a revocation stays in the record; an approval is gone and must be given anew. What
//     was held stays held: by the record it was approved.
//   - Somebody writes an act into the store, for which the gate's public recipient is enough: it does not open, or is on no record.
//   - Somebody writes into the record that a hold is released: it is not, unless an end of what it rests on stands before, and the rule
//     reports it. With an end that nobody signed beside it, no purge runs where the gate is, until the case is closed anew.
//   - One person freezes everybody's rows: only an enrolled registrar can, for seven days, on record.
//   - A registrar writes requests down to learn of somebody, day by day, whether there is anything: what there is is held, and neither
//     the desk nor the list of holds nor the record says how much, or that it is nothing. That there is nothing is answered after a
//     whole look under a decision, and refused before it in the same words whether there is or not.
//   - A registrar or holder of a role whom a request is about: they neither write it down nor decide on it.
//   - An administrator alters or removes a key row so that a day is not found: it is counted as damaged or missing.
//   - An administrator deletes entries of the record: approvers' clients remember checkpoints and refuse a shorter log.
//   - Two processes race for the last lookup: the lock, and the order of intents in the record.
//   - kill -9 between any two steps: an act that was filed but not recorded does not count (a revocation does); an intent
//     without a result counts as used and is named.
//   - Text that steers a terminal, a spreadsheet or a log: refused in documents; escaped where rows are printed.
//
// # Limits, stated
//
//   - Whoever is root on the gate while a lookup runs sees that lookup's rows, and can see that a person has capsules on a day.
//   - The administrator of the database, and whoever has its user purge, can count the rows of a hold by day, also of a request about one
//     person that nobody has approved a look for; plans and certificates of purges count what was copied and removed. How much the hold
//     of a unit or of everybody keeps is told to who asks: a unit of one person is a person.
//   - Whether the union was really told, and whether an alias list is complete, no machine knows: three people sign for it.
//   - Late lines of a day in scope, read after the approvals, are under keys that nobody handed over: they are not shown;
//     their keys are counted in the result.
//   - A person may have several names in the logs (sign-ins, mail addresses). That they are one person is the requester's word, which
//     three people sign for.
//   - A holder who is enrolled as a member too, under another id and with other keys, can't be told apart (package seal says who must).
//   - Whoever sends a passphrase by letter could open the extract itself: the decision says that it will be so, and three people
//     approve it. An age key of the person leaves nobody in between; whether it is the person's, they vouch for.
//   - An approver's bundle has as many keys as there are: whoever looks into the memory of an approver's client, before the others have
//     approved, learns how many. Record, case store, screens and document do not say it: a handover is padded, and no count is signed.
//   - At one table the approver's client runs on the gate's machine, and the role's key is in its memory for that moment. Over
//     distance it never is.
//   - How much there was of protected destinations or other categories is not told, but to the person's own extract. So whoever
//     adds a protected recipient to a mail keeps that mail out of a lookup: each result says that this may be so (Shielded), and a
//     decision may name a ground to show protected destinations too, which three people approve.
//   - One case number is one decision, in one deployment: a case that goes on needs a new number.
//   - If key rows and capsules of a day are both removed from the database, nothing tells that they were there. Of a unit, a key row
//     that is removed is not missed: only a person's tags can be made.
//   - Where a purge runs without the gate the record alone counts: whoever can write to it ends a hold by two entries, the end of
//     the decision or request, and the release.
//   - A request for records whose registrar can't open what was previewed is refused unseen, or previewed anew, by who takes over. Once
//     it is decided on, its rows leave by the hand of whoever previewed them, or under a new number; its letter by anybody's who may
//     work on it, where no rows leave.
package casework
