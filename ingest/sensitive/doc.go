// Package sensitive counts in a mail's subject line what should not stand there: Swedish personal identity numbers, payment
// card numbers, and words that tell of health, union membership, faith and the like (GDPR articles 9 and 10).
//
// It promises:
//   - counts only: what was found is neither kept nor answered, and not where it stood;
//   - a number is counted when its date and check digit are right, and when it stands alone: not as a part of a longer number
//     or word;
//   - a word is counted at word borders, in any case, in UTF-8 and Latin-1;
//   - nothing is allocated, no input makes it panic, and its time grows with the length of the subject line alone.
//
// It refuses to be sure. One in ten numbers of any kind has a right check digit by chance, so a phone number that looks like a
// date of birth may be counted; a word says that a subject line touches on something, not what it says of whom. So its
// answers are fit for statistics, and for nothing about a person.
package sensitive
